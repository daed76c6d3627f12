"""What findings are called: one name each, whatever the annotators wrote.

Text only; knows no file and no class of a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# The label names of ChestX-ray14 and CheXpert, without underscores.
_KNOWN = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Enlarged Cardiomediastinum",
    "Fibrosis", "Fracture", "Hernia", "Infiltration", "Lung Lesion", "Lung Opacity", "Mass", "No Finding", "Nodule",
    "Pleural Effusion", "Pleural Other", "Pleural Thickening", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
# Two names of one finding: CheXlocalize's files against its paper, NIH's box list against its label file.
ALIASES = {"Airspace Opacity": "Lung Opacity", "Infiltrate": "Infiltration"}


def canonical_finding(name: str) -> str:
    """The one name of a finding: underscores and repeated spaces folded, case of known names, aliases resolved.

    Args:
        name: as written.

    Returns:
        A known name in its own case; any other name as written but for spaces.

    Example:
        >>> canonical_finding("airspace_opacity"), canonical_finding("PNEUMONIA"), canonical_finding("my  sign")
        ('Lung Opacity', 'Pneumonia', 'my sign')
    """
    spaced = " ".join(re.sub(r"[_\s]+", " ", name).split())
    return _BY_FOLDED.get(spaced.casefold(), spaced)


def canonical_findings(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The one name of each finding of a source, and a notice for each renaming.

    Names that are no known finding and differ only in case take the first spelling.

    Returns:
        Name as written -> canonical name, and the notices.
    """
    spellings: dict[str, str] = {}
    chosen = {}
    for name in dict.fromkeys(names):
        canonical = canonical_finding(name)
        chosen[name] = spellings.setdefault(canonical.casefold(), canonical)
    return chosen, [f"Finding '{name}' is read as '{to}'." for name, to in chosen.items() if name != to]


_BY_FOLDED = {name.casefold(): name for name in _KNOWN} | {name.casefold(): to for name, to in ALIASES.items()}
