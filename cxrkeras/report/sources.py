"""Which weights to start from: a table that sorts and filters, rank intervals, redundancy, cards and agreement.

Tables in, a section out. Knows no directory and no network; visual and semantic similarity stay columns of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.render.panels import interval_panel, matrix_panel
from cxrkeras.report.contents import Contents
from cxrkeras.report.panels import interval_sentence, panel_of
from cxrkeras.report.parts import Cell, Group, Panel, Section, Table
from cxrkeras.report.results import SourcesTables
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import bounds, is_undefined, listed, number, plain_reason
from cxrkeras.sources.words import EXPECTATION, POOLED, SIMILARITY, STANDARD_ERRORS, WIDTH, exclusion, headline
from cxrkeras.tables import with_text

UNKNOWN = "unknown"
FLOOR = "raw-pixels"
_TEXT = (
    "candidate", "arch", "weights", "sha256", "preprocess", "kid_extractor", "saw_target", "tied_with", "status",
    "first", "second", "score", "field", "value", "pick", "best", "form",
)  # fmt: skip
_MORE = {
    "similarity": "Similarity to the target; no part of the rank",
    "robustness": "Probes that were given an artefact, on the films of every split",
}
_LEAD = f"What the frozen features of every candidate tell of the same films. {POOLED}"


def sources_section(contents: Contents) -> Section | None:
    """What each directory of results says; of a run or study without one, the command that makes it."""
    found = contents.sources
    title = "Which weights to start from?"
    if not found:
        if not contents.runs or contents.kind == "robustness":
            return None
        run = contents.runs[0]
        command = (
            f"cxrkeras sources --candidate {run.name}=run:{run.name}@best "
            f"--candidate random={run.backbone}:random --data DIR|CSV --run {run.name}-sources"
        )
        lead = f"Its results stand in a directory of their own; report --with {run.name}-sources puts them here."
        return Section("sources", title, _LEAD, (Group(lead=lead, missing=command),))
    groups = tuple(group for one in found for group in _groups(one, len(found) > 1))
    return Section("sources", title, _LEAD, groups)


def _groups(one: SourcesTables, several: bool) -> Iterator[Group]:
    heading = one.name if several else ""
    if one.sources.empty:
        yield Group(heading, missing=one.command)
        return
    frame = with_text(one.sources, _TEXT)
    said = (("Rank", headline(frame)), ("Left out", exclusion(frame)), ("What to expect", EXPECTATION))
    said = tuple((kind, words) for kind, words in said if words)
    tables = [sources_table(f"sources-{one.name}", frame), table_of(f"sources-all-{one.name}", "Every column", frame)]
    tables += [
        table_of(f"sources-{name}-{one.name}", title, table)
        for name, title in _MORE.items()
        if len(table := getattr(one, name))
    ]
    panels = tuple(_rank_panels(one.name, frame))
    yield Group(heading, _notes(frame), sentences=said, panels=panels, tables=tuple(tables))
    if len(one.cka):
        yield _redundancy(one)
    if len(one.cards):
        yield _cards(one)
    if len(one.agreement):
        yield _agreement(one)
    if len(one.preprocess):
        lead = "Statistics of the films under each preprocessing; no suggestion, and nothing was applied."
        table = table_of(f"preprocess-{one.name}", "Distance to what the first normalisation stored", one.preprocess)
        yield Group("Preprocessing check", lead, tables=(table,))


def sources_table(name: str, frame: pd.DataFrame) -> Table:
    """The candidates as a table that sorts and filters; complete where scripts are off.

    Args:
        name: of the CSV, unique in the report.
        frame: the table `sources`.
    """
    most = frame["rank_hi"].max()
    makers = {words: make for words, needs, make in _COLUMNS if needs in frame}
    rows = [tuple(make(row, most) for make in makers.values()) for row in frame.to_dict("records")]
    caption = "Candidates by net; in brackets 95 % intervals, ± standard error."
    return Table(name, caption, tuple(makers), tuple(rows), frame, open=True, sorts=True)


def _value(column: str, low: str = "", high: str = "", spread: str = "", digits: int = 3) -> Any:
    """A column that shows a number, with its interval or spread below."""

    def make(row: dict[str, Any], most: float) -> Cell:
        value = row[column]
        if is_undefined(value):
            return Cell(f"undefined ({plain_reason(row.get('status'))})", "undefined", sort="")
        below = bounds(row.get(low), row.get(high), digits) if low else ""
        if spread and not is_undefined(row.get(spread)):
            below = f"± {number(row[spread], digits=digits)}"
        return Cell(number(value, digits=digits), "number", below, sort=float(value))

    return make


def _optional(column: str, digits: int = 3, beside: str = "", spread: str = "") -> Any:
    """A column that was measured only where it was asked for: what is not there is unavailable, not undefined."""

    def make(row: dict[str, Any], most: float) -> Cell:
        below = "" if not beside or is_undefined(row.get(beside)) else str(row[beside])
        if is_undefined(row[column]):
            return Cell("unavailable", "undefined", "" if below == "unavailable" else below, sort="")
        about = "" if not spread or is_undefined(row.get(spread)) else f"± {number(row[spread], digits=digits)}"
        return Cell(number(row[column], digits=digits), "number", " ".join(filter(None, (about, below))),
                    sort=float(row[column]))  # fmt: skip

    return make


def _candidate(row: dict[str, Any], most: float) -> Cell:
    below = ", ".join(str(row[name]) for name in ("weights", "preprocess") if row.get(name))
    return Cell(row["candidate"], "name", below, sort=row["candidate"])


def _rank(row: dict[str, Any], most: float) -> Cell:
    if is_undefined(row["rank"]):
        return Cell(f"not ranked ({plain_reason(row['status'])})", "undefined", sort="")
    rank, low, high = (row[name] for name in ("rank", "rank_lo", "rank_hi"))
    known = not (is_undefined(low) or is_undefined(high))
    between = f"[{low:g}, {high:g}]" if known else ""
    drawing = rank_drawing(rank, low, high, most) if known else ""
    return Cell(f"{rank:g} {between}".strip(), "number", sort=float(rank), svg=drawing)


def rank_drawing(rank: float, low: float, high: float, most: float) -> str:
    """A small drawing of a rank and its interval on the scale of all ranks, for a field of a table."""
    at = [5 + 70 * (float(value) - 1) / max(float(most) - 1, 1.0) for value in (low, rank, high)]
    return (
        '<svg class="rank" width="80" height="12" viewBox="0 0 80 12" aria-hidden="true" focusable="false">'
        '<path d="M5 6H75" stroke="#dfe4ea" stroke-width="2"/>'
        f'<path d="M{at[0]:.1f} 6H{at[2]:.1f}" stroke="#0072B2" stroke-width="3"/>'
        f'<circle cx="{at[1]:.1f}" cy="6" r="4" fill="#0072B2"/></svg>'
    )


def _ties(row: dict[str, Any], most: float) -> Cell:
    return Cell(row["tied_with"] or "none", sort=row["tied_with"])


def _saw(row: dict[str, Any], most: float) -> Cell:
    seen = row["saw_target"] or UNKNOWN
    return Cell(seen, "good" if seen == "no" else "alert", sort=seen)


def _text(column: str) -> Any:
    return lambda row, most: Cell(str(row[column]).replace("_", " "), sort=str(row[column]))


def _count(column: str) -> Any:
    def make(row: dict[str, Any], most: float) -> Cell:
        if is_undefined(row[column]):
            return Cell(UNKNOWN, "alert", sort="")
        count = int(row[column])
        return Cell(str(count), "alert" if count else "number", sort=count)

    return make


# heading, the column that must be there, what makes the field
_COLUMNS = (
    ("candidate", "candidate", _candidate),
    ("net", "arch", _text("arch")),
    ("probe AUC", "probe_auc", _value("probe_auc", "ci_lo", "ci_hi")),
    ("rank", "rank", _rank),
    ("tied with", "tied_with", _ties),
    ("AUC to the best", "difference_to_best", _value("difference_to_best", "difference_lo", "difference_hi")),
    ("LogME", "logme", _value("logme", spread="logme_se")),
    ("H-score", "h_score", _value("h_score", spread="h_score_se")),
    ("prior order", "prior", _optional("prior", 0)),
    ("visual distance", "visual_distance", _optional("visual_distance")),
    ("semantic similarity", "semantic_similarity", _optional("semantic_similarity", 2)),
    ("KID", "kid", _optional("kid", 4, "kid_extractor", "kid_sd")),
    ("saw the target", "saw_target", _saw),
    ("tag reversed AUC", "tag_reversed_auc", _optional("tag_reversed_auc")),
    ("low-pass reversed AUC", "lowpass_reversed_auc", _optional("lowpass_reversed_auc")),
    ("unknown fields", "unknown_fields", _count("unknown_fields")),
    ("status", "status", _text("status")),
)


def _notes(frame: pd.DataFrame) -> str:
    """How many films there are, and how the columns are to be read."""
    films, patients = frame["n_films"].max(), frame["n_patients"].max()
    words = [] if is_undefined(films) else [f"{int(films)} films of {int(patients)} patients."]
    wide = frame[frame["candidate"] != FLOOR]["n_features"].dropna().nunique() > 1 if "n_features" in frame else False
    return " ".join([*words, STANDARD_ERRORS, *([WIDTH] if wide else []), SIMILARITY])


def _rank_panels(name: str, frame: pd.DataFrame) -> Iterator[Panel]:
    ranked = frame[frame["candidate"] != FLOOR].reset_index(drop=True)
    floor = frame[frame["candidate"] == FLOOR]["probe_auc"].dropna()
    places = range(len(ranked))
    auc = pd.DataFrame(
        {
            "name": ranked["candidate"], "value": ranked["probe_auc"], "low": ranked["ci_lo"],
            "high": ranked["ci_hi"], "status": ranked["status"], "place": places,
        }
    )  # fmt: skip
    reference = float(floor.iloc[0]) if len(floor) else None
    figure = interval_panel(
        auc, "Probe AUC", across="out-of-fold AUC", reference=reference, reference_name="raw pixels"
    )
    sentence = interval_sentence("Probe AUC", auc)
    sentence += f" Raw pixels through the same probe: {number(reference)}." if reference is not None else ""
    yield panel_of(f"sources-auc-{name}", "Probe AUC", figure, sentence)
    rank = auc.assign(value=ranked["rank"], low=ranked["rank_lo"], high=ranked["rank_hi"])
    if rank["value"].notna().sum() > 1:
        figure = interval_panel(rank, "Rank by probe AUC", across="rank, 1 is best", whole=True)
        words = [f"{row.name} {_rank_words(row)}" for row in rank.itertuples(index=False)]
        told = f"Rank by probe AUC with its interval over redrawn patients: {listed(words)}."
        yield panel_of(f"sources-rank-{name}", "Rank by probe AUC", figure, told)


def _rank_words(row: Any) -> str:
    if is_undefined(row.value):
        return f"not ranked ({plain_reason(row.status)})"
    return f"{row.value:g} [{row.low:g}, {row.high:g}]"


def _redundancy(one: SourcesTables) -> Group:
    """Linear CKA between candidates: as a drawing, and as numbers."""
    names, values = cka_matrix(one.cka)
    pairs = [
        (values[i, j], names[i], names[j])
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if np.isfinite(values[i, j])
    ]
    panels: tuple[Panel, ...] = ()
    if pairs:
        most, least = max(pairs), min(pairs)
        told = f"Most alike: {most[1]} and {most[2]} ({number(most[0], digits=2)})"
        told += f"; least: {least[1]} and {least[2]} ({number(least[0], digits=2)})." if len(pairs) > 1 else "."
        figure = matrix_panel(names, values, "Linear CKA between candidates")
        panels = (panel_of(f"cka-{one.name}", "Linear CKA between candidates", figure, told),)
    lead = "1: the two see the same differences between films. Candidates that are alike add little to each other."
    table = table_of(f"cka-{one.name}", "Linear CKA between candidates", with_text(one.cka, _TEXT))
    return Group("Are the candidates redundant?", lead, panels, (table,))


def cka_matrix(cka: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names and the symmetric matrix ``[k, k]`` of a table ``first, second, cka``; NaN where a pair is not there."""
    table = with_text(cka, ("first", "second"))
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    values = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(values, 1.0)
    for row in table.itertuples(index=False):
        i, j = names.index(row.first), names.index(row.second)
        values[i, j] = values[j, i] = row.cka
    return names, values


def _cards(one: SourcesTables) -> Group:
    """A row a field, a column a candidate; what nobody wrote down stands out."""
    table = with_text(one.cards, ("candidate", "field", "value"))
    candidates = list(dict.fromkeys(table["candidate"]))
    known = {(row.candidate, row.field): row.value or UNKNOWN for row in table.itertuples(index=False)}
    rows, missing = [], 0
    for name in dict.fromkeys(table["field"]):
        values = [known.get((candidate, name), UNKNOWN) for candidate in candidates]
        missing += values.count(UNKNOWN)
        cells = [Cell(value, "alert" if value == UNKNOWN else "") for value in values]
        rows.append((Cell(str(name).replace("_", " "), "name"), *cells))
    lead = f"{missing} of {len(rows) * len(candidates)} fields are unknown." if missing else "No field is unknown."
    cards = Table(f"cards-{one.name}", "Source cards", ("field", *candidates), tuple(rows), one.cards, open=True)
    return Group("What is known of the sources", lead, tables=(cards,))


def _agreement(one: SourcesTables) -> Group:
    """What choosing by each score would have cost against measured fine-tuning."""
    # elsewhere in a report a score is the C-Score
    table = with_text(one.agreement, _TEXT).rename(columns={"score": "chosen_by"})
    lead = (
        "Regret: the best fine-tuned AUC less that of the candidate that a score would have picked. A rank correlation "
        "needs at least six candidates."
    )
    tables = [table_of(f"agreement-{one.name}", "Agreement with fine-tuning", table, shown_open=True)]
    if len(one.agreement_scores):
        scores = with_text(one.agreement_scores, _TEXT)
        tables.append(table_of(f"agreement-scores-{one.name}", "Scores beside fine-tuned AUC", scores))
    return Group("Did the scores choose well?", lead, tables=tuple(tables))
