"""Confounders as typed on the command line: which artefact, with which parameters."""

from __future__ import annotations

import math
from dataclasses import fields
from fractions import Fraction

from cxrkeras.errors import UsageError, unknown
from cxrkeras.robustness.planted import LowPass, PoissonNoise, Tag
from cxrkeras.robustness.sampled import Sampled

Planted = Tag | LowPass | PoissonNoise
Confounder = Planted | Sampled
_PLANTED: dict[str, type[Planted]] = {each.kind_name: each for each in (Tag, LowPass, PoissonNoise)}
_COLUMN = "column"


def parse_confounder(text: str) -> Confounder:
    """A confounder as typed.

    Args:
        text: `tag`, `lowpass` or `noise`, alone or with parameters (`tag:x=.8,y=.1`, `lowpass:cutoff=500/1024`,
            `noise:n_conf=1e7`), or `column:NAME=VALUE`, to which `;kind=anatomical` may say the kind.

    Raises:
        UsageError: no such confounder or parameter, or a value that cannot be used.

    Example:
        >>> parse_confounder("lowpass:cutoff=.3")
        LowPass(cutoff=0.3)
    """
    kind, _, rest = text.strip().partition(":")
    if kind == _COLUMN:
        return _sampled(text, rest)
    if kind not in _PLANTED:
        raise unknown("confounder", kind, [*_PLANTED, f"{_COLUMN}:NAME=VALUE"])
    made = _PLANTED[kind]
    known = [field.name for field in fields(made) if field.type == "float"]
    given: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known:
            raise unknown(f"parameter of {kind}", name, known)
        if name in given:
            raise UsageError(f"confounder '{text}' gives {name} twice. Expected each parameter once.")
        given[name] = _number(value, part, text)
    return made(**given)


def _sampled(text: str, rest: str) -> Sampled:
    pair, _, extra = rest.partition(";")
    column, equals, value = (word.strip() for word in pair.partition("="))
    word, _, kind = (word.strip() for word in extra.partition("="))
    if not (column and equals and value) or (extra and (word != "kind" or not kind)):
        raise UsageError(
            f"confounder '{text}' is not understood. Expected column:NAME=VALUE, for example column:sex=F, or "
            "column:NAME=VALUE;kind=anatomical."
        )
    return Sampled(column, value, kind or None)


def _number(value: str, part: str, text: str) -> float:
    try:
        number = float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise UsageError(f"'{part}' of confounder '{text}' is no number. Expected one, such as .3, 1e7 or 500/1024.")
    return number
