"""The report on a directory of results (`robustness`, `sources`): its tables read, its page written.

Nothing is computed, and no network is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from cxrkeras._version import __version__
from cxrkeras.errors import RunError, did_you_mean
from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.pictures import sheet_jpeg
from cxrkeras.report.contents import Contents
from cxrkeras.report.page import assemble, write_report
from cxrkeras.report.panels import safe_name
from cxrkeras.report.parts import Picture
from cxrkeras.report.results import RobustnessTables, SourcesTables
from cxrkeras.report.sources import FLOOR
from cxrkeras.run import ARTIFACTS, all_runs
from cxrkeras.store import check_writable
from cxrkeras.study.results import Results, results_names

_TABLES = {
    "robustness": ("results", "reliance", "comparisons", "control", "visibility", "maps", "hidden"),
    "sources": ("sources", "cka", "cards", "similarity", "robustness", "preprocess", "agreement", "agreement_scores"),
}
_TEXT = (
    "source", "arch", "mode", "confounder", "level", "kind", "split", "method", "metric", "status", "visible",
    "hidden_from_auc", "first", "second", "candidate", "weights", "sha256", "preprocess", "kid_extractor",
    "saw_target", "tied_with", "field", "value", "score", "pick", "best", "form",
    "measure", "computed_with",
)  # fmt: skip
# text in the cards, a number in the maps
_NUMBERS = {"maps": ("value",), "similarity": ("value",)}
_SHEETS = "maps-*.png"


@dataclass(frozen=True)
class ResultTables:
    """What directories of results add to a page."""

    robustness: tuple[RobustnessTables, ...] = ()
    sources: tuple[SourcesTables, ...] = ()


def stored_results(name_or_path: str | None) -> Results | None:
    """The directory of results of this name; None where a run may be meant.

    Raises:
        RunError: neither results nor a run have the name, and results have one that is more like it.
    """
    try:
        return None if name_or_path is None else Results.open(name_or_path)
    except RunError:
        runs, name = [run.name for run in all_runs()], Path(name_or_path).name
        if name not in runs and did_you_mean(name, [*runs, *results_names()]) != did_you_mean(name, runs):
            raise
        return None


def read_results(found: Sequence[Results]) -> ResultTables:
    """Tables of directories, in the order given; a directory that stands twice is read once.

    Args:
        found: the directories. Two of one name are told apart by a number.
    """
    robustness, sources, names = [], [], []
    for path, results in {results.path.resolve(): results for results in found}.items():
        names.append(path.name)
        name = path.name if names.count(path.name) == 1 else f"{path.name}-{names.count(path.name)}"
        about = {"name": name, "where": where(path), "facts": dict(_made(results))}
        tables = {table: _table(results, table) for table in _TABLES[results.kind]}
        if results.kind == "robustness":
            robustness.append(RobustnessTables(**about, **tables, pictures=tuple(_pictures(results, name))))
        else:
            sources.append(SourcesTables(**about, **tables))
    return ResultTables(tuple(robustness), tuple(sources))


def report_results(results: Results, beside: Sequence[Results] = (), *, reporter: Reporter = SILENT) -> Path:
    """Write the report of one directory of results.

    Args:
        results: the directory.
        beside: further ones for the same page.
        reporter: told of what is left out.

    Returns:
        The HTML file.

    Raises:
        RunError: the directory holds no result yet, or the report cannot be written.
    """
    check_writable(results.path)
    tables = read_results([results, *beside])
    first = (tables.robustness if results.kind == "robustness" else tables.sources)[0]
    main = first.results if isinstance(first, RobustnessTables) else first.sources
    if main.empty:
        raise RunError(
            f"{results.path} holds no result yet. Expected the tables of a finished command. Finish it first: "
            f"{first.command}."
        )
    asks = {"robustness": "does it lean on a shortcut?", "sources": "which weights to start from?"}
    contents = Contents(
        title=f"{results.name}: {asks[results.kind]}",
        kind=results.kind,
        name=results.name,
        split="test",
        runs=(),
        facts=_facts(results, main),
        robustness=tables.robustness,
        sources=tables.sources,
    )
    return write_report(assemble(contents), results.report_path, results.report_folder, reporter)


def where(path: Path) -> str:
    """What `--run` takes from this directory; the name alone where it lies elsewhere, for paths stay private."""
    path, here = path.resolve(), Path.cwd()
    if path.parent == (here / ARTIFACTS).resolve() or not path.is_relative_to(here):
        return path.name
    return path.relative_to(here).as_posix()


def _table(results: Results, name: str) -> pd.DataFrame:
    text = tuple(column for column in _TEXT if column not in _NUMBERS.get(name, ()))
    found = results.table(name, text)
    if found is None:
        return pd.DataFrame()
    return found.assign(weights=found["weights"].map(_plain)) if "weights" in found else found


def _pictures(results: Results, name: str) -> Iterator[Picture]:
    """Sheets of films with the artefact and their maps."""
    for file in sorted(results.figure_path("x").parent.glob(_SHEETS)):
        about, png = file.stem.replace("_", " ").replace("-", " "), file.read_bytes()
        told = "Films without and with the artefact, and the maps of each method at p = 0 and at the largest p."
        yield Picture(safe_name(f"{name}-{file.stem}"), about.capitalize(), png, sheet_jpeg(png), told)


def _facts(results: Results, main: pd.DataFrame) -> dict[str, str]:
    """What a reader has to know first."""
    column = "source" if results.kind == "robustness" else "candidate"
    settings = results.settings
    facts = {"Data": _plain((settings.get("data") or {}).get("path") or "phantom")}
    if results.kind == "robustness":
        own = main[main["mode"] != "control"]
        facts |= {
            "Sources": _listed(own[column]),
            "Mode": _listed(own["mode"]),
            "Confounders": _listed(own["confounder"]),
            "Shares p": ", ".join(f"{p:g}" for p in sorted(set(own["p"].dropna()))),
            "Seeds": str(own[own["seed"] >= 0]["seed"].nunique()),
            "Positive class": str(settings.get("positive", "unknown")),
        }
    else:
        own = main[main[column] != FLOOR]
        facts |= {"Candidates": _listed(own[column]), "Nets": _listed(own["arch"])}
    return {name: value for name, value in facts.items() if value} | {"Made with": f"cxrkeras {__version__}"}


def _listed(column: pd.Series) -> str:
    return ", ".join(str(name) for name in dict.fromkeys(column) if name)


def _made(results: Results) -> Iterator[tuple[str, str]]:
    """Everything that is needed to repeat it, paths cut to their last part."""
    yield "Results", results.name
    for part in (results.settings, results.info):
        for name, value in part.items():
            # the page says them itself, with the numbers of its tables
            if name != "sentences" and (words := _plain(value)):
                yield name.replace("_", " ").capitalize(), words


def _plain(value: Any) -> str:
    """A stored value in words; of a path only its last part, for machines stay private."""
    if isinstance(value, dict):
        return "; ".join(f"{name} {_plain(one)}" for name, one in value.items() if _plain(one))
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value)
    if value is None:
        return ""
    text = str(value)
    head, sign, rest = text.partition(":") if text.startswith("run:") else ("", "", text)
    absolute = Path(rest).is_absolute() or PureWindowsPath(rest).is_absolute()
    return f"{head}{sign}{Path(rest).name if absolute else rest}"
