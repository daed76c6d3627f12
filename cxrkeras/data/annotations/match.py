"""Which film an annotation means: names from one source against the ids of another.

Names only; opens no file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cxrkeras.data.images import SUFFIXES
from cxrkeras.errors import DataError

_FILE_SUFFIXES = (*SUFFIXES, ".dcm")
# Folders that say whose film it is: patient00001/study1 (CheXpert), p10000032/s50414267 (MIMIC).
_PERSONAL = re.compile(r"(patient|study|p|s)\d+", re.IGNORECASE)


@dataclass(frozen=True)
class _Name:
    """A film's name taken apart: `folders` from the root, file `name`, and `stem` without a film's suffix."""

    folders: tuple[str, ...]
    name: str
    stem: str

    def joined(self) -> list[str]:
        """The stem with its folders before it, joined by underscores: all of them first."""
        return ["_".join([*self.folders[start:], self.stem]) for start in range(len(self.folders))]

    @property
    def personal(self) -> tuple[str, ...]:
        return tuple(folder.lower() for folder in self.folders if _PERSONAL.fullmatch(folder))


@dataclass(frozen=True)
class _Match:
    image: str
    parts: _Name
    row: int
    agreement: int


def matched_films(images: Iterable[str], ids: Sequence[str]) -> dict[str, int]:
    """The film that each annotated image is: by its exact id, else its file name, else its name without suffix.

    Where several films have that name, the one whose folders agree further up is meant. Folders that name
    a patient or a study must not contradict each other. A whole path joined by underscores means the path
    (CheXlocalize: `patient64541_study1_view1_frontal`), and the other way round.

    Args:
        images: names as the annotations write them.
        ids: film ids (the manifest's `path`).

    Returns:
        Image -> position in `ids`; images that match no film are absent. Two names may mean one film.

    Raises:
        DataError: a name fits several films, or one film fits names that lie in different folders.

    Example:
        >>> matched_films(["a.jpg", "x/b.png", "c"], ["test/a.png", "test/b.png"])
        {'a.jpg': 0, 'x/b.png': 1}
    """
    names = [_taken_apart(str(film)) for film in ids]
    exact = {_clean(str(film)): row for row, film in enumerate(ids)}
    by_name, by_stem, by_joined = _index(names)
    matches = []
    for image in dict.fromkeys(images):
        parts = _taken_apart(image)
        row = exact.get(_clean(image))
        if row is None:
            candidates = (by_name.get(parts.name), by_stem.get(parts.stem), by_joined.get(parts.stem))
            flattened = (by_stem.get(joined) for joined in parts.joined())
            kept = (_of_same_patient(parts, rows, names) for rows in (*candidates, *flattened) if rows)
            row = _deepest(image, parts, next(filter(None, kept), []), names, ids)
        if row is not None:
            matches.append(_Match(image, parts, row, _agreement(parts, names[row])))
    return _without_strangers(matches, ids)


def _clean(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def _taken_apart(path: str) -> _Name:
    *folders, name = PurePosixPath(_clean(path)).parts or ("",)
    stem = name[: name.rindex(".")] if name.lower().endswith(_FILE_SUFFIXES) else name
    return _Name(tuple(folders), name, stem)


def _index(names: Sequence[_Name]) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, list[int]]]:
    """Rows by file name, by stem, and by stem with any number of folders joined before it."""
    by_name, by_stem, by_joined = defaultdict(list), defaultdict(list), defaultdict(list)
    for row, parts in enumerate(names):
        by_name[parts.name].append(row)
        by_stem[parts.stem].append(row)
        for joined in parts.joined():
            by_joined[joined].append(row)
    return by_name, by_stem, by_joined


def _of_same_patient(parts: _Name, rows: Sequence[int], names: Sequence[_Name]) -> list[int]:
    def agrees(other: _Name) -> bool:
        shared = min(len(parts.personal), len(other.personal))
        return not shared or parts.personal[-shared:] == other.personal[-shared:]

    return [row for row in rows if agrees(names[row])]


def _deepest(image: str, parts: _Name, rows: Sequence[int], names: Sequence[_Name], ids: Sequence[str]) -> int | None:
    """The one film of `rows` whose folders agree furthest with the image's."""
    if not rows:
        return None
    depth = {row: _agreement(parts, names[row]) for row in rows}
    best = [row for row in rows if depth[row] == max(depth.values())]
    if len(best) > 1:
        raise DataError(
            f"image '{image}' of the annotations fits {len(best)} films, first '{ids[best[0]]}' and '{ids[best[1]]}'. "
            "Expected one; name it by the film's id (the manifest's path)."
        )
    return best[0]


def _agreement(first: _Name, second: _Name) -> int:
    """How many folders agree, counted upwards from the file."""
    count = 0
    for one, other in zip(reversed(first.folders), reversed(second.folders), strict=False):
        if one != other:
            break
        count += 1
    return count


def _contradict(first: _Name, second: _Name) -> bool:
    return _agreement(first, second) < min(len(first.folders), len(second.folders))


def _without_strangers(matches: Sequence[_Match], ids: Sequence[str]) -> dict[str, int]:
    """Leave out images that share a film's name but lie beside an image that fits it better.

    A class or patient folder may hold a film of the same name that is not among the films asked for.
    """
    by_row: dict[int, list[_Match]] = defaultdict(list)
    for match in matches:
        by_row[match.row].append(match)
    strangers = set()
    for row, group in by_row.items():
        deepest = max(match.agreement for match in group)
        best = [match for match in group if match.agreement == deepest and match.parts.folders]
        for match in group:
            against = next((other for other in best if _contradict(match.parts, other.parts)), None)
            if against and match.agreement < deepest:
                strangers.add(match.image)
            elif against:
                raise DataError(
                    f"film '{ids[row]}' fits the images '{match.image}' and '{against.image}' of the annotations "
                    "equally well. Expected one; name it by the film's id (the manifest's path)."
                )
    return {match.image: match.row for match in matches if match.image not in strangers}
