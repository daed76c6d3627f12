"""Compiled kernels: the few loops that need TensorFlow below a metric. Arrays in, arrays out; no subject."""
