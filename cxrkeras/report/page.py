"""The page: sections put together, made into one HTML file, with figures and tables as files beside it.

Text in, text out; where the files go is the caller's to say.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cxrkeras.errors import RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.report.checks import agreement_section, drift_section, similarity_section, validity_section
from cxrkeras.report.contents import Contents, Viewer
from cxrkeras.report.fractions import fractions_section
from cxrkeras.report.headline import findings_section, headline_section
from cxrkeras.report.localization import localization_section
from cxrkeras.report.panels import safe_name
from cxrkeras.report.parts import Panel, Picture, Section, Table
from cxrkeras.report.robustness import robustness_section
from cxrkeras.report.sources import sources_section
from cxrkeras.report.trajectories import class_section, coverage_section, sweep_section, trajectory_section
from cxrkeras.report.viewer import stills, viewer_payload
from cxrkeras.report.words import CAUTIONS, glossary
from cxrkeras.run_paths import figure_path, table_path
from cxrkeras.store import atomic_path, write_text
from cxrkeras.tables import write_csv

LIMIT = 15_000_000
BEFORE_VIEWER = (headline_section, findings_section)
AFTER_VIEWER = (
    trajectory_section,
    class_section,
    coverage_section,
    sweep_section,
    drift_section,
    similarity_section,
    agreement_section,
    validity_section,
    localization_section,
    fractions_section,
)
OF_RESULTS = (robustness_section, sources_section)


@dataclass(frozen=True)
class Report:
    """Sections and text of a report."""

    contents: Contents
    before: tuple[Section, ...]
    after: tuple[Section, ...]

    @property
    def panels(self) -> list[Panel]:
        """Every figure."""
        return [panel for section in self._sections for group in section.groups for panel in group.panels]

    @property
    def tables(self) -> list[Table]:
        """Every table."""
        return [table for section in self._sections for group in section.groups for table in group.tables]

    @property
    def pictures(self) -> list[Picture]:
        """Every picture."""
        return [picture for section in self._sections for group in section.groups for picture in group.pictures]

    @property
    def _sections(self) -> Iterator[Section]:
        yield from self.before
        yield from self.after

    @cached_property
    def html(self) -> str:
        """The page; it needs no other file."""
        contents = self.contents
        template = _environment().get_template("page.html")
        viewer = contents.viewer
        by_name = {run.name: run.focus for run in contents.runs}
        focus = [by_name.get(run.name) for run in viewer.runs] if viewer else []
        return template.render(
            contents=contents,
            before=self.before,
            after=self.after,
            caution=CAUTIONS[contents.kind],
            glossary=glossary(runs=contents.runs, robustness=contents.robustness, sources=contents.sources),
            style=Markup(_packaged("page.css")),
            script=Markup(_packaged("viewer.js")),
            sorting=Markup(_packaged("tables.js")) if any(table.sorts for table in self.tables) else "",
            viewer=viewer,
            viewer_data=script_json(viewer_payload(viewer, focus)) if viewer else "",
            stills=stills(viewer, focus) if viewer else [],
        )


def assemble(contents: Contents) -> Report:
    """Build every section of a report that has something to say or to ask for."""
    about_runs = (BEFORE_VIEWER, AFTER_VIEWER) if contents.runs else ((), ())
    # a page of its own begins with what it is about
    of_results = OF_RESULTS[::-1] if contents.kind == "sources" else OF_RESULTS
    before, after = (
        tuple(section for build in builders if (section := build(contents)) is not None)
        for builders in (about_runs[0], (*about_runs[1], *of_results))
    )
    return Report(contents, before, after)


def write_report(report: Report, page: Path, folder: Path, reporter: Reporter = SILENT) -> Path:
    """Write the page, and its figures and tables beside it.

    Args:
        report: see `assemble`.
        page: the HTML file.
        folder: takes figures (PNG, SVG) and tables (CSV); those of an earlier report are replaced.
        reporter: told when films were left out to stay below the limit.

    Returns:
        The HTML file.

    Raises:
        RunError: the page is too large even without its viewer, or cannot be written.
    """
    report = _within_limit(report, reporter)
    for panel in report.panels:
        with atomic_path(figure_path(folder, panel.name, "png")) as partial:
            partial.write_bytes(panel.png)
        write_text(figure_path(folder, panel.name, "svg"), panel.svg_file)
    for picture in report.pictures:
        with atomic_path(figure_path(folder, picture.name, "png")) as partial:
            partial.write_bytes(picture.png)
    for table in report.tables:
        write_csv(table_path(folder, safe_name(table.name)), table.frame)
    write_text(page, report.html)
    _remove_leftovers(report, folder)
    return page


def _remove_leftovers(report: Report, folder: Path) -> None:
    """Take away figures and tables of an earlier report that would contradict this one."""
    written = {figure_path(folder, panel.name, kind) for panel in report.panels for kind in ("png", "svg")}
    written |= {figure_path(folder, picture.name, "png") for picture in report.pictures}
    written |= {table_path(folder, safe_name(table.name)) for table in report.tables}
    places = {figure_path(folder, "x", kind) for kind in ("png", "svg")} | {table_path(folder, "x")}
    for place in places:
        for file in place.parent.glob(f"*{place.suffix}"):
            if file not in written:
                file.unlink()


def _within_limit(report: Report, reporter: Reporter) -> Report:
    """The report with as many of the viewer's films as the limit allows, and without pictures where that helps."""
    size = len(report.html.encode())
    if size > LIMIT and report.pictures:
        reporter.notice(f"the report would take {size / 1e6:.1f} MB: its pictures are left out.")
        report = replace(report, after=tuple(_without_pictures(section) for section in report.after))
        size = len(report.html.encode())
    while size > LIMIT:
        viewer = report.contents.viewer
        if viewer is None:
            raise RunError(
                f"the report would take {size / 1e6:.1f} MB without a viewer. Expected at most {LIMIT / 1e6:.0f} MB; "
                "report fewer runs."
            )
        kept = len(viewer.films) * 2 // 3
        reporter.notice(
            f"the report would take {size / 1e6:.1f} MB: the viewer keeps {kept} of {len(viewer.films)} films."
            if kept >= len(viewer.classes)
            else f"the report would take {size / 1e6:.1f} MB: the viewer is left out."
        )
        smaller = with_films(viewer, kept) if kept >= len(viewer.classes) else None
        absent = "" if smaller else "It would have made the report too large."
        report = replace(report, contents=replace(report.contents, viewer=smaller, viewer_absent=absent))
        size = len(report.html.encode())
    return report


def _without_pictures(section: Section) -> Section:
    told = "Pictures were left out: the page would have been too large. "
    groups = (
        replace(group, pictures=(), lead=told + group.lead) if group.pictures else group for group in section.groups
    )
    return replace(section, groups=tuple(groups))


def with_films(viewer: Viewer, n: int) -> Viewer:
    """A viewer of the first `n` films, whose order takes the classes in turn."""
    runs = tuple(
        replace(
            run,
            probabilities=run.probabilities[:, :n],
            maps=tuple(
                replace(m, films=m.films[m.films < n], values=m.values[m.films < n], status=m.status[m.films < n])
                for m in run.maps
            ),
        )
        for run in viewer.runs
    )
    return replace(viewer, films=viewer.films[:n], runs=runs)


def script_json(value: Any) -> Markup:
    """A value as JSON that no text in it can turn into markup."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cxrkeras.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup
    environment.filters["anchor"] = safe_name
    environment.filters["data_uri"] = _data_uri
    return environment


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _packaged(name: str) -> str:
    return resources.files("cxrkeras.report").joinpath(name).read_text(encoding="utf-8")
