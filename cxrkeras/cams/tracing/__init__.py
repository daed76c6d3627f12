"""A Keras model seen while its graph is traced: its layer calls, logits, layers with a grid, precision and memory.

Knows no method; the model is never changed.
"""
