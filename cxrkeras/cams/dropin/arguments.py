"""What callers of tf-keras-vis hand over, scores and model inputs in their many forms, as the engine takes it.

Wrong arguments raise what tf-keras-vis raises for them, as a CxrKerasError. Knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis.utils import listify
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore

from cxrkeras.errors import DataError, TargetError

_NAMING_A_CLASS = (CategoricalScore, BinaryScore)


def score_functions(model: keras.Model, score: Any) -> tuple[Callable[[tf.Tensor], Any], ...]:
    """One callable per output of the model.

    Args:
        model: any Keras model; a subclassed one does not say how many outputs it has.
        score: a Score object, a function or a list of them.

    Raises:
        TargetError: something that cannot be called, or another number of scores than of outputs.
    """
    scores = listify(score)
    for one in scores:
        if not callable(one):
            raise TargetError(
                "a score has to be callable. Expected a Score object, such as CategoricalScore(1), or a function of "
                f"the model's output; received {type(one).__name__}."
            )
    outputs = getattr(model, "outputs", None)
    expected = len(outputs) if outputs else max(1, len(scores))
    if len(scores) != expected:
        raise TargetError(f"expected one score for each of the model's {expected} outputs; received {len(scores)}.")
    return tuple(scores)


def names_class(model: keras.Model, scores: Sequence[Callable[[tf.Tensor], Any]]) -> bool:
    """Whether the scores are one target class per film, of a model with one output ``[n, units]``."""
    outputs = getattr(model, "outputs", None)
    flat = not outputs or (len(outputs) == 1 and len(outputs[0].shape) == 2)
    return flat and len(scores) == 1 and type(scores[0]) in _NAMING_A_CLASS


def class_targets(score: CategoricalScore | BinaryScore, count: int, units: int) -> np.ndarray:
    """Class of each film, int ``[count]``, where the one unit of a binary head has the classes 0 and 1.

    Args:
        score: which names one class, or one per film.
        count: films.
        units: of the model's output.

    Raises:
        TargetError: classes that do not fit the model or the films.
    """
    if isinstance(score, BinaryScore):
        if units != 1:
            raise TargetError(f"BinaryScore needs a model with one output unit; received one with {units}.")
        targets = [int(value) for value in score.target_values]
    else:
        beyond = [index for index in score.indices if not -units <= index < units]
        if beyond:
            raise TargetError(
                f"target {beyond[0]} is out of range. Expected 0 to {units - 1}, an output unit of the model; "
                f"received {score.indices}."
            )
        targets = [index % units for index in score.indices]
        if units == 1:
            # the index counts units, and the one unit of a binary head stands for class 1
            targets = [1] * len(targets)
    targets = targets * count if len(targets) == 1 else targets
    if len(targets) != count:
        raise TargetError(f"expected {count} targets, one per image; received {len(targets)}.")
    return np.asarray(targets)


def on_probabilities(score: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
    """The score as ScoreCAM takes it: where tf-keras-vis negates a logit, the other class has the probability 1 − s."""
    if type(score) is not BinaryScore:
        return score

    def probability(output: tf.Tensor) -> tf.Tensor:
        signed = score(output)
        return tf.where(np.asarray(score.target_values), signed, 1 + signed)

    return probability


def model_inputs(model: keras.Model, seed_input: Any) -> tuple[np.ndarray, ...]:
    """One array ``[n, …]`` per model input; a single film gets its n = 1.

    Args:
        model: any Keras model.
        seed_input: an array or tensor, or a list of one per model input, with or without the batch axis.

    Raises:
        DataError: another number of inputs than the model has, or arrays of another rank.
    """
    arrays = [np.asarray(one) for one in listify(seed_input)]
    declared = getattr(model, "inputs", None)
    if not declared:
        alone = any(array.ndim == 3 for array in arrays)
        return tuple(array[None] if alone else array for array in arrays)
    if len(arrays) != len(declared):
        raise DataError(
            f"the model has {len(declared)} inputs. Expected a list of one array for each; received {len(arrays)}."
        )
    inputs = []
    for i, (array, tensor) in enumerate(zip(arrays, declared, strict=True)):
        rank = len(tensor.shape)
        array = array[None] if array.ndim == rank - 1 else array
        if array.ndim != rank:
            raise DataError(
                f"input {i} '{tensor.name}' has the wrong shape. Expected {tuple(tensor.shape)}, with or without the "
                f"first axis; received {array.shape}."
            )
        inputs.append(array)
    return tuple(inputs)
