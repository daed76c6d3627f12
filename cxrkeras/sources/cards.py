"""Source cards: what is known about the films that weights were trained on, and loudly what is not.

Reads YAML; knows no weights and no run.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError, field_validator

from cxrkeras.errors import ConfigError, did_you_mean, unknown
from cxrkeras.settings import Section
from cxrkeras.sources.candidates import IMAGENET, RANDOM, Candidate, is_radimagenet

UNKNOWN = "unknown"


class SourceCard(Section):
    """What is known about a source; a field nobody filled is ``unknown``.

    `view`, `modality` and `anatomy` may list several, with commas. `classes` are the source's labels. `saw` names the
    data sets of chest films that the weights were trained on, one way or another; empty says none.
    """

    name: str = UNKNOWN
    modality: str = UNKNOWN
    anatomy: str = UNKNOWN
    view: str = UNKNOWN
    n_images: int | str = UNKNOWN
    n_patients: int | str = UNKNOWN
    n_classes: int | str = UNKNOWN
    classes: tuple[str, ...] | str = UNKNOWN
    label_source: str = UNKNOWN
    licence: str = UNKNOWN
    population: str = UNKNOWN
    input_size: str = UNKNOWN
    channels: int | str = UNKNOWN
    preprocess: str = UNKNOWN
    url: str = UNKNOWN
    sha256: str = UNKNOWN
    saw: tuple[str, ...] | str = UNKNOWN

    @field_validator("n_images", "n_patients", "n_classes", "channels")
    @classmethod
    def _a_count(cls, value: Any) -> Any:
        if value != UNKNOWN and (isinstance(value, str) or value < 0):
            raise ValueError("expected a number from 0, or unknown")
        return value

    @field_validator("classes", "saw", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        if isinstance(value, str) and value != UNKNOWN:
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("input_size", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """Fields that nobody filled."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) == UNKNOWN)


_BUILT_IN = {
    IMAGENET: SourceCard(name="ImageNet", modality="photograph", anatomy="none", view="none", channels=3, saw=()),
    "radimagenet": SourceCard(
        name="RadImageNet",
        modality="CT, MRI, ultrasound",
        n_images=1_350_000,
        n_patients=131_872,
        n_classes=165,
        licence="code MIT; no licence of the weights was found",
        preprocess="caffe/255 (published code contradicts itself)",
        url="https://github.com/BMEII-AI/RadImageNet",
        saw=(),
    ),
    RANDOM: SourceCard(
        name="random weights",
        modality="none",
        anatomy="none",
        view="none",
        n_images=0,
        n_patients=0,
        n_classes=0,
        classes=(),
        label_source="none",
        licence="none needed",
        population="none",
        url="none",
        saw=(),
    ),
}


def built_in_card(candidate: Candidate) -> SourceCard:
    """Return what is known of a candidate's source without a card of its own: ImageNet, RadImageNet, random weights."""
    known = _BUILT_IN.get("radimagenet" if is_radimagenet(candidate) else candidate.kind, SourceCard())
    given = {"preprocess": candidate.preprocessing} if candidate.preprocessing else {}
    return known.model_copy(update=given)


def read_cards(file: str | PathLike[str]) -> dict[str, SourceCard]:
    """Read a YAML file of cards, by the candidates' names.

    Args:
        file: `CANDIDATE: {field: value, …}`, one or more of them.

    Raises:
        ConfigError: the file cannot be read, or a field or value is none of a card.
    """
    path = Path(file).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"card file {path} cannot be read ({error}). Expected a YAML file.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise ConfigError(
            f"{path} holds no cards. Expected a candidate's name with the fields of its card below it, for example "
            "`rad: {modality: CT, n_images: 1000}`."
        )
    return {str(name): _card(f"{path}: {name}", fields) for name, fields in content.items()}


def filled(card: SourceCard, over: SourceCard) -> SourceCard:
    """Return a card with the fields that `over` knows laid over it."""
    known = {name: getattr(over, name) for name in type(over).model_fields if name not in over.unknown_fields}
    return card.model_copy(update=known)


def cards_table(cards: Iterable[tuple[str, SourceCard]]) -> pd.DataFrame:
    """Return a row per candidate and field: `candidate`, `field`, `value`; what nobody knows is ``unknown``."""
    rows = [
        {"candidate": candidate, "field": field, "value": _text(getattr(card, field))}
        for candidate, card in cards
        for field in SourceCard.model_fields
    ]
    return pd.DataFrame(rows, columns=["candidate", "field", "value"])


def _text(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)


def _card(where: str, fields: dict[str, Any]) -> SourceCard:
    for field in fields:
        if field not in SourceCard.model_fields:
            raise unknown(f"field of the card of {where}", str(field), SourceCard.model_fields, ConfigError)
    try:
        return SourceCard.model_validate({name: UNKNOWN if value is None else value for name, value in fields.items()})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}; received {first['input']!r}."
            f"{did_you_mean(str(first['input']), [UNKNOWN])}"
        ) from None
