"""The data room: manifests, patients, splits, checks, pixels and batches. Only `pipeline` imports TensorFlow."""
