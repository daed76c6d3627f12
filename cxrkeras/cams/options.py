"""What each option of a method may be: one check an option, before anything is computed.

Imports no TensorFlow. Which options exclude each other is for the method to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from cxrkeras.errors import MethodError, did_you_mean

Check = tuple[Callable[[Any], bool], str]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of 1 or more."""
    return isinstance(value, Integral | float) and is_number(value) and int(value) == value and value >= 1


def _one_of(*words: str | None) -> Check:
    return lambda value: value in words, " or ".join(str(word) for word in words)


def _optional(check: Check) -> Check:
    valid, words = check
    return lambda value: value is None or valid(value), f"{words}, or None"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


_COUNT: Check = (is_count, "a whole number of 1 or more")
_FRACTION: Check = (lambda value: is_number(value) and 0 < value < 1, "a number between 0 and 1, such as 0.1")
_NUMBER: Check = (is_number, "a number")
_POSITIVE: Check = (lambda value: is_number(value) and value > 0, "a number above 0")
_NAME: Check = (lambda value: isinstance(value, str) and bool(value), "a layer name")
_LAYERS: Check = (
    lambda value: _is_list(value) and not any(isinstance(one, int | float) for one in value),
    "a list of one layer name or more",
)
_WEIGHTS: Check = (
    lambda value: _is_list(value) and all(is_number(one) and one >= 0 for one in value) and sum(value) > 0,
    "a list of numbers, none negative and not all 0, one per layer",
)

CHECKS: Mapping[str, Check] = {
    "fusion": _one_of("mean", "max"),
    "ig_baseline": _one_of("zero", "black"),
    "ig_steps": _COUNT,
    "layercam_gamma": _POSITIVE,
    "layercam_layers": _optional(_LAYERS),
    "level_weights": _optional(_WEIGHTS),
    "mask_layer": _optional(_NAME),
    "mask_space": _one_of("input", "preprocessed"),
    "mask_value": _NUMBER,
    "max_channels": _optional(_COUNT),
    "normalize_alphas": _one_of(None, "positive"),
    "precision": _one_of("model", "bfloat16"),
    "tolerance": _optional(_FRACTION),
    "weighting": _one_of("probability", "softmax"),
}


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse a value that its option cannot have.

    Args:
        options: option name -> value.

    Raises:
        MethodError: such a value.
    """
    for name, value in options.items():
        valid, words = CHECKS[name]
        if not valid(value):
            hint = did_you_mean(value, words.split(" or ")) if isinstance(value, str) else ""
            raise MethodError(f"{name} has to be {words}; received {value!r}.{hint}")
