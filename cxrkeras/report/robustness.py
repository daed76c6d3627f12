"""Does it lean on a shortcut: curves over the share of films with an artefact, what AUC hides and what the maps show.

Tables in, a section out. Knows no directory, no film and no map.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cxrkeras.errors import UsageError
from cxrkeras.render.panels import curve_panel
from cxrkeras.render.robustness import METRICS, gain_panel, reliance_panel, robustness_panel
from cxrkeras.render.shares import CONTROL, MOST, rows_of, series_names, series_of
from cxrkeras.report.contents import Contents
from cxrkeras.report.panels import panel_of
from cxrkeras.report.parts import Group, Panel, Section
from cxrkeras.report.results import RobustnessTables
from cxrkeras.report.robustness_words import (
    change_words,
    comparison_words,
    control_words,
    curve_words,
    gain_words,
    invisible_words,
    largest_words,
    reliance_words,
    seed_means,
    visibility_words,
)
from cxrkeras.report.tables import table_of
from cxrkeras.robustness.hidden import hidden_words
from cxrkeras.tables import with_text

_MODES = {
    "probe": "Mode probe: for every arm a linear classifier was fitted on the frozen features of a source. These "
    "numbers are about those features; they are not the reliance of a network that is fine-tuned from them.",
    "finetune": "Mode finetune: every arm is a network of its own, trained in two stages from the weights of its "
    "source on films of which the share p of the positive ones carries the artefact.",
    "trained": "Mode trained: a run measured as it is, without a share p of its own: nothing was trained here.",
}
_TEXT = (
    "source", "arch", "mode", "confounder", "level", "kind", "split", "method", "metric", "status", "visible",
    "hidden_from_auc", "first", "second",
)  # fmt: skip
_ABOUT = ["source", "arch", "mode", "p"]
_SHOWN = {
    "reliance": [
        *_ABOUT, "n_seeds", "reliance", "ci_lo", "ci_hi", "damage", "delta_logit", "delta_logit_lo", "delta_logit_hi",
        "status",
    ],
    "hidden": [
        *_ABOUT, "method", "auc_iid", "auc_iid_change", "auc_reversed_change", "reliance", "mass_gain", "ci_lo",
        "ci_hi", "chance", "ceiling", "visible", "hidden_from_auc", "status",
    ],
    "comparisons": [
        "mode", "p", "split", "first", "second", "difference", "ci_lo", "ci_hi", "p_bootstrap", "p_holm",
        "p_sign_flip", "p_attainable", "n_seeds", "status",
    ],
    "visibility": ["source", "arch", "image_size", "rms", "area", "n_films", "status"],
    "control": ["p", "split", "expected", "measured", "difference", "population", "status"],
    "results": [
        *_ABOUT, "seed", "split", "auc", "ci_lo", "ci_hi", "sensitivity", "specificity", "ece", "threshold", "n_pos",
        "n_neg", "n_patients", "status",
    ],
    "maps": [
        *_ABOUT, "seed", "split", "method", "metric", "value", "ci_lo", "ci_hi", "chance", "n", "n_patients",
        "n_degenerate", "status",
    ],
}  # fmt: skip
_TITLES = {
    "reliance": "Reliance: what the AUC loses when the artefact changes sides, beyond what the artefact damages",
    "hidden": "What AUC hides and what the maps show, against p = 0",
    "comparisons": "Differences between sources on the same films",
    "visibility": "How much of the artefact reaches the network",
    "control": "The artefact alone against its closed form",
    "results": "Every arm on every split",
    "maps": "The maps with and without the artefact",
}
_LEAD = (
    "An artefact is given to the share p of the positive training films and to none of the negative ones. Then the "
    "same test films are asked with the artefact as in training (iid), on every negative film instead (reversed), on "
    "none (clean), on half of both classes (neutral) and on every positive film (aligned). What leans on it looks "
    "better iid and worse reversed. A sampled confounder changes no pixel: films are chosen, and neutral takes the "
    "place of clean."
)


def robustness_section(contents: Contents) -> Section | None:
    """What each directory of results says; of a run or study without one, the command that makes it."""
    found = contents.robustness
    if not found:
        if not contents.runs:
            return None
        name = contents.runs[0].name
        command = f"cxrkeras robustness --sources run:{name}@best --data DIR|CSV --run {name}-robustness"
        lead = f"Its results stand in a directory of their own; report --with {name}-robustness puts them here."
        return Section("robustness", "Does it lean on a shortcut?", _LEAD, (Group(lead=lead, missing=command),))
    groups = tuple(group for one in found for group in _groups(one, len(found) > 1))
    return Section("robustness", "Does it lean on a shortcut?", _LEAD, groups)


def _groups(one: RobustnessTables, several: bool) -> Iterator[Group]:
    heading = one.name if several else ""
    if one.results.empty:
        yield Group(heading, missing=one.command)
        return
    results = with_text(one.results, _TEXT)
    measured = results[results["source"] != CONTROL]
    modes = [_MODES[mode] for mode in dict.fromkeys(measured["mode"]) if mode in _MODES]
    said = [
        *invisible_words(one.visibility), *reliance_words(with_text(one.reliance, _TEXT)),
        *control_words(one.control),
    ]  # fmt: skip
    yield Group(heading, " ".join(modes), sentences=tuple(said))
    for confounder in dict.fromkeys(measured["confounder"]):
        yield _confounder_group(one, results, str(confounder), several)
    if one.maps.empty:
        yield Group("What the maps do", missing=one.command)
    if one.pictures:
        yield Group(f"{one.name}: examples" if several else "Examples", pictures=one.pictures)


def _confounder_group(one: RobustnessTables, results: pd.DataFrame, confounder: str, several: bool) -> Group:
    rows = results[results["confounder"] == confounder]
    level, kind = rows["level"].iloc[0], rows["kind"].iloc[0]
    title = f"{confounder} ({level} level, {kind})"
    own = {name: _of(getattr(one, name), confounder) for name in _SHOWN}
    lead, panels = visibility_words(own["visibility"]), ()
    try:
        panels = tuple(_panels(one, results, own, confounder))
    except UsageError as error:
        lead = f"{lead} No figure: {error}".lstrip()
    tables = tuple(
        table_of(f"robustness-{name}-{one.name}-{confounder}", f"{_TITLES[name]}, {confounder}", table, _SHOWN[name])
        for name, table in own.items()
        if len(table)
    )
    said = [("AUC and maps", words) for words in (hidden_words(own["hidden"]) if len(own["hidden"]) else [])]
    said += comparison_words(own["comparisons"])
    return Group(f"{one.name}: {title}" if several else title, lead, panels, tables, tuple(said))


def _panels(
    one: RobustnessTables, results: pd.DataFrame, own: dict[str, pd.DataFrame], confounder: str
) -> Iterator[Panel]:
    series, rows = series_of(results), results[results["confounder"] == confounder]
    start = f"robustness-{one.name}-{confounder}"
    control = one.control if len(one.control) else None
    for metric, words in METRICS.items():
        title = f"{words[0].upper()}{words[1:]} by share, {confounder}"
        figure = robustness_panel(results, confounder, metric, title, control=control, series=series)
        yield panel_of(f"{start}-{metric}", title, figure, curve_words(words, rows, metric, series))
        if metric == "auc" and len(own["reliance"]):
            lean = own["reliance"]
            title = f"Reliance by share, {confounder}"
            sentence = f"{largest_words(lean, 'reliance', 'Reliance')} {change_words(lean)}".rstrip()
            yield panel_of(f"{start}-reliance", title, reliance_panel(lean, confounder, title, series=series), sentence)
    if len(own["maps"]):
        yield from _map_panels(start, own["maps"], confounder)


def _map_panels(start: str, maps: pd.DataFrame, confounder: str) -> Iterator[Panel]:
    """A panel a source: what the artefact draws to itself, and the C-Score of the films as in training."""
    methods = list(dict.fromkeys(maps["method"]))[:MOST]
    trained = maps[maps["p"].notna() & maps["method"].isin(methods)]
    keys = list(dict.fromkeys(trained[["source", "arch", "mode"]].itertuples(index=False, name=None)))
    for key, name in zip(keys, series_names(keys), strict=True):
        own = rows_of(trained, key)
        gain = own[(own["metric"] == "mass_gain") & (own["split"] == "aligned") & own["value"].notna()]
        area = own[(own["metric"] == "mass") & (own["split"] == "aligned")]["chance"].astype(float).mean()
        if len(gain):
            title = f"Map mass drawn by the {confounder}: {name}"
            figure = gain_panel(gain, methods, title, area=float(area))
            yield panel_of(f"{start}-gain-{'-'.join(key)}", title, figure, gain_words(gain, name, area))
        score = own[(own["metric"] == "c_score") & (own["split"] == "iid")]
        if score["value"].notna().any():
            title = f"C-Score, films as in training: {name}"
            points = seed_means(score).rename(columns={"p": "epoch", "value": "score"})
            points = points.rename(columns={"ci_lo": "ci_low", "ci_hi": "ci_high"})
            ticks = [(share, f"{share:g}") for share in sorted(set(points["epoch"]))]
            figure = curve_panel(points, methods, title, quantity="C-Score", across="share p in training", ticks=ticks)
            yield panel_of(
                f"{start}-cscore-{'-'.join(key)}", title, figure, largest_words(score, "value", title, "method")
            )


def _of(table: pd.DataFrame, confounder: str) -> pd.DataFrame:
    if table.empty or "confounder" not in table:
        return table[:0]
    table = with_text(table, _TEXT)
    return table[table["confounder"] == confounder].reset_index(drop=True)
