"""Whether weights have seen the target films before: by the data sets' names, and by the films' hashes.

A source that was trained on the target looks better there than it is anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from cxrkeras.sources.cards import UNKNOWN, SourceCard

YES, NO = "yes", "no"
# Every name of a data set, first the one that stands for them; parts carry the whole's name.
_DATA_SETS = {
    "nih": (
        "chestx-ray14", "chestx-ray8", "cxr14", "cxr8", "nih-cxr14", "nih-cxr", "nih-chestx-ray14", "nih-chest-x-ray",
        "nih-chest-x-rays", "nih-boxes", "chestmnist",
    ),
    "kermany": ("chest-xray-pneumonia", "pneumoniamnist", "guangzhou"),
    "chexpert": ("chexpert-small", "chexlocalize"),
    "mimic": ("mimic-cxr", "mimic-cxr-jpg"),
    "padchest": (),
    "rsna": ("rsna-pneumonia", "rsna-pneumonia-detection", "rsna-pneumonia-detection-challenge"),
    "openi": ("open-i", "indiana", "iu-xray"),
    "vindr": ("vindr-cxr", "vinbigdata"),
}  # fmt: skip
# What is made of films of other data sets: published networks, and challenges.
_MADE_OF = {
    "chexnet": ("nih",),
    "torchxrayvision": ("nih", "padchest", "chexpert", "mimic", "openi", "rsna"),
    "rsna": ("nih",),
}


@dataclass(frozen=True)
class SawTarget:
    """Whether a source saw the target.

    Attributes:
        value: ``yes``, ``no`` or ``unknown``.
        reason: why, in a few words.
        n_common: target films whose file is among the source's; 0 also where the source's are not known.
    """

    value: str
    reason: str
    n_common: int


def saw_target(
    card: SourceCard,
    target: str,
    *,
    target_hashes: Collection[str] = (),
    source_hashes: Collection[str] = (),
) -> SawTarget:
    """Return whether a source's weights were trained on the target's films.

    Args:
        card: of the source; its `saw` names data sets.
        target: name of the target's data set; a folder's name will do where it is a known one.
        target_hashes: SHA-256 of the target's film files.
        source_hashes: SHA-256 of the film files that the source is known to have seen.

    Returns:
        ``yes`` for one common file or a common data set, a part or a model of it included; ``no`` where the card
        says what was seen and the target is none of it. A target whose name is no known data set is ``unknown``
        unless the source saw no chest film at all.
    """
    common = len(set(target_hashes) & set(source_hashes))
    if common:
        return SawTarget(YES, f"{common} of {len(set(target_hashes))} target films are among its own", common)
    if card.saw == UNKNOWN:
        return SawTarget(UNKNOWN, "its card does not say what it saw", 0)
    if not card.saw:
        return SawTarget(NO, "it saw no data set of chest films", 0)
    ours = _origins(target)
    for name in card.saw:
        if ours & _origins(name):
            return SawTarget(YES, f"it saw {name}", 0)
    if not known_data_set(target) or not all(map(known_data_set, card.saw)):
        return SawTarget(UNKNOWN, f"whether {target} is part of {', '.join(card.saw)} is not known here", 0)
    return SawTarget(NO, f"it saw {', '.join(card.saw)}", 0)


def data_set(name: str) -> str:
    """Return the one name of a data set or published network, whatever it is called; unknown names stay as they are."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for known, others in _DATA_SETS.items():
        if plain in {re.sub(r"[^a-z0-9]", "", other) for other in (known, *others)}:
            return known
    return plain


def _origins(name: str) -> set[str]:
    found = {data_set(name)}
    return found.union(*(_MADE_OF.get(origin, ()) for origin in found))


def known_data_set(name: str) -> bool:
    """Return whether this is a name of a data set or published network that is known here."""
    return data_set(name) in _DATA_SETS or data_set(name) in _MADE_OF
