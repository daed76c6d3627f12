"""Where a backbone's first weights come from: `imagenet`, `random`, `run:NAME[@EPOCH]` or a file.

Every file is counted, shape-checked and hashed before it is used; a wrong file says what it is. Knows no runs:
the caller resolves `run:` to a checkpoint file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from cxrkeras.errors import WeightsError, did_you_mean
from cxrkeras.models.backbones import Backbone
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.preprocessing import MODES
from cxrkeras.store import sha256_file

SUFFIXES = (".weights.h5", ".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class WeightSource:
    """A parsed `--weights` value.

    Attributes:
        kind: `imagenet`, `random`, `run` or `file`.
        value: the run's name or the file's path; empty otherwise.
        epoch: for `run`, the epoch, `best` or `last`.
    """

    kind: str
    value: str = ""
    epoch: str = "best"


def parse_weights(text: str) -> WeightSource:
    """Parse `imagenet | random | run:NAME[@EPOCH] | FILE`.

    Raises:
        WeightsError: neither a known source nor an existing weight file.
    """
    if text in ("imagenet", "random"):
        return WeightSource(text)
    if text.startswith("run:"):
        name, _, epoch = text[4:].partition("@")
        if not name:
            raise WeightsError("weights 'run:' names no run. Expected run:NAME or run:NAME@EPOCH.")
        return WeightSource("run", name, epoch or "best")
    path = Path(text).expanduser()
    if not path.exists():
        raise WeightsError(
            f"weights '{text}' is neither a source nor a file. Expected imagenet, random, run:NAME[@EPOCH] "
            f"or an existing file ending in {', '.join(SUFFIXES)}.{did_you_mean(text, ('imagenet', 'random'))}"
        )
    if not path.name.endswith(SUFFIXES):
        raise WeightsError(f"weights file {path} has an unknown ending. Expected one of: {', '.join(SUFFIXES)}.")
    return WeightSource("file", str(path))


def source_preprocessing(source: WeightSource, row: Backbone, explicit: str | None = None) -> str:
    """The preprocessing mode that belongs to a source.

    The published RadImageNet files follow `caffe/255`, whatever the backbone; they are told by their name.
    """
    if explicit is not None:
        if explicit not in MODES:
            raise WeightsError(f"unknown preprocessing '{explicit}'. Expected one of: {', '.join(MODES)}.")
        return explicit
    if source.kind == "file" and "radimagenet" in Path(source.value).name.lower():
        return "caffe/255"
    return row.preprocessing


def check_imagenet(row: Backbone) -> None:
    """Refuse a backbone that no ImageNet weights were published for.

    Raises:
        WeightsError: there are none.
    """
    if row.imagenet_file is None:
        raise WeightsError(f"{row.name} has no ImageNet weights. Expected random, run:NAME or a file as its weights.")


def load_imagenet(classifier: Classifier) -> str:
    """Load Keras's ImageNet weights into the backbone and return the file's SHA-256.

    Raises:
        WeightsError: no such weights for this backbone, or they can neither be found nor downloaded.
    """
    row = classifier.backbone
    check_imagenet(row)
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    expected = home / "models" / row.imagenet_file
    builder = getattr(keras.applications, row.name)
    try:
        pretrained = builder(include_top=False, weights="imagenet", input_shape=(row.size, row.size, 3))
    except Exception as error:
        raise WeightsError(
            f"the ImageNet weights of {row.name} could not be downloaded, and Keras found no valid copy at {expected}. "
            f"Put {row.imagenet_file} there, or use --weights FILE, or --weights random."
        ) from error
    _assign(classifier, _layer_arrays(pretrained.layers), "imagenet")
    return sha256_file(expected) if expected.exists() else weights_hash(classifier)


def load_file(classifier: Classifier, path: str | Path) -> str:
    """Load a weight file, with or without its top, into the backbone and return the file's SHA-256.

    Args:
        classifier: its backbone is filled; its head stays as it is.
        path: Keras `.h5`, `.weights.h5` or `.keras`.

    Raises:
        WeightsError: the file is broken, belongs to another network, or a layer's shapes differ.
    """
    path = Path(path)
    try:
        arrays = _file_arrays(path, classifier.backbone_layers)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"weights file {path} cannot be read ({type(error).__name__}: {error}). Expected a whole Keras weight "
            "file; it may be truncated: fetch or copy it again."
        ) from error
    _assign(classifier, arrays, str(path))
    return sha256_file(path)


def weights_hash(classifier: Classifier) -> str:
    """SHA-256 over the backbone's present weights, BatchNorm statistics included."""
    digest = hashlib.sha256()
    for layer in classifier.backbone_layers:
        for array in layer.get_weights():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _layer_arrays(layers: list[keras.layers.Layer]) -> list[list[np.ndarray]]:
    """Weights of the layers that have any, models among them opened, in forward order."""
    arrays: list[list[np.ndarray]] = []
    for layer in layers:
        inner = getattr(layer, "layers", None)
        if inner:
            arrays += _layer_arrays(inner)
        elif layer.weights and not isinstance(layer, keras.layers.Dropout):
            arrays.append(layer.get_weights())
    return arrays


def _assign(classifier: Classifier, arrays: list[list[np.ndarray]], name: str) -> None:
    row = classifier.backbone
    layers = [layer for layer in classifier.backbone_layers if layer.weights]
    expected, received = len(layers), len(arrays)
    with_head = received - expected
    if with_head not in (0, 1):
        raise WeightsError(
            f"{name} does not hold {row.name} weights. Expected {expected} layers with weights, "
            f"or {expected + 1} with a head; received {received}. {_networks_of(received)}"
        )
    # A head sorts last in every layout; only its own two arrays are left unused.
    for layer, values in zip(layers, arrays, strict=False):
        want, have = [tuple(w.shape) for w in layer.weights], [tuple(v.shape) for v in values]
        if want != have:
            raise WeightsError(
                f"{name} does not fit {row.name} at layer '{layer.name}'. Expected shapes {want}; received {have}. "
                "Check that the file was made with this backbone and three input channels."
            )
    _check_values(layers, arrays, name)
    for layer, values in zip(layers, arrays, strict=False):
        layer.set_weights(values)


def _check_values(layers: list[keras.layers.Layer], arrays: list[list[np.ndarray]], name: str) -> None:
    for layer, values in zip(layers, arrays, strict=False):
        broken = sum(int((~np.isfinite(array)).sum()) for array in values)
        if broken:
            raise WeightsError(
                f"{name}: {broken} weights of layer '{layer.name}' are not finite. Expected numbers; its training "
                "diverged or the file is damaged: use another checkpoint."
            )
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        # one channel without any variance is a dead one, which a calibrated checkpoint of ours may have
        variance = values[-1]
        if variance.min() < 0 or not variance.any():
            raise WeightsError(
                f"{name}: BatchNorm layer '{layer.name}' has moving variances from {variance.min():.3g} to "
                f"{variance.max():.3g}. Expected positive ones; the file was converted or stored wrongly."
            )


def _networks_of(received: int) -> str:
    """Which backbones have this many layers with weights, as the end of a message."""
    from cxrkeras.models.backbones import BACKBONES

    plain = [row.name for row in BACKBONES.values() if row.weighted_layers == received]
    headed = [f"{row.name} with a head" for row in BACKBONES.values() if row.weighted_layers + 1 == received]
    if found := plain + headed:
        return f"That is the count of {' and of '.join(found)}: use --backbone {found[0].split()[0]}?"
    return "No backbone here has that many."


def _file_arrays(path: Path, layers: list[keras.layers.Layer]) -> list[list[np.ndarray]]:
    """Arrays of a file's layers, read without building its network: a wrong file is refused before Keras sees it."""
    if path.name.endswith(".keras"):
        if not zipfile.is_zipfile(path):
            raise WeightsError(f"weights file {path} is not a .keras archive. Expected a model saved by Keras 3.")
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stored:
            return _hdf5_arrays(io.BytesIO(stored.read()), path, layers)
    return _hdf5_arrays(path, path, layers)


def _hdf5_arrays(source: Path | io.BytesIO, path: Path, layers: list[keras.layers.Layer]) -> list[list[np.ndarray]]:
    with h5py.File(source, "r") as file:
        if "layers" in file or "_layer_checkpoint_dependencies" in file:
            return _keras3_arrays(file, layers)
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            raise WeightsError(f"weights file {path} is HDF5 but holds no Keras weights. Expected a Keras .h5 file.")
        return _legacy_arrays(group)


def _legacy_arrays(group: h5py.Group) -> list[list[np.ndarray]]:
    """Arrays of a Keras 2 `.h5`, grouped by the layer each weight's own name gives (nested models open up)."""
    by_layer: dict[str, list[np.ndarray]] = {}
    for outer in group.attrs["layer_names"]:
        outer = outer.decode() if isinstance(outer, bytes) else outer
        for name in group[outer].attrs["weight_names"]:
            name = name.decode() if isinstance(name, bytes) else name
            by_layer.setdefault(f"{outer}|{name.rsplit('/', 1)[0]}", []).append(np.asarray(group[outer][name]))
    return list(by_layer.values())


def _keras3_arrays(file: h5py.File, layers: list[keras.layers.Layer]) -> list[list[np.ndarray]]:
    """Arrays of a Keras 3 `.weights.h5` in the forward order of `layers`.

    Keras 3 names a layer by its class and a count within its model, and HDF5 lists names alphabetically, so the
    order has to come from the network at hand; what it does not name (a head) goes last.
    """
    containers: list[h5py.Group] = []
    file.visititems(
        lambda name, node: (
            containers.append(node) if isinstance(node, h5py.Group) and name.rsplit("/", 1)[-1] == "layers" else None
        )
    )
    weighted = [
        {name: node["vars"] for name, node in container.items() if "vars" in node and len(node["vars"])}
        for container in containers
    ]
    stored = max(weighted, key=len, default={})
    ordered = [name for name in _keras3_names(layers) if name in stored]
    ordered += sorted(set(stored) - set(ordered))
    return [[np.asarray(stored[name][str(i)]) for i in range(len(stored[name]))] for name in ordered]


def _keras3_names(layers: list[keras.layers.Layer]) -> list[str]:
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        stem = _snake_case(type(layer).__name__)
        count = seen.get(stem, 0)
        seen[stem] = count + 1
        names.append(f"{stem}_{count}" if count else stem)
    return names


def _snake_case(name: str) -> str:
    """Keras's own spelling of a class name in weight files (`Conv2D` -> `conv2d`)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
