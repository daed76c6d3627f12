"""The sections on localization and label fractions: numbers, chance, sentences, and what makes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrkeras.localization import chance_table, summary_table
from cxrkeras.report.contents import Contents, Localized, RunTables
from cxrkeras.report.fractions import fractions_section
from cxrkeras.report.localization import localization_section
from cxrkeras.report.page import assemble
from cxrkeras.run import Run
from cxrkeras.tables import write_csv
from cxrkeras.workflow.report.localization import stored_localizations

ABOUT = {"finding": "Lung Opacity", "class": "PNEUMONIA", "annotator": "union"}
FILMS = 20


def scored(method, value):
    """Films of as many patients, all of one value; the mark takes a tenth of each."""
    rows = {"image": [f"{i}.png" for i in range(FILMS)], "patient": [str(i) for i in range(FILMS)]}
    metrics = dict.fromkeys(("iou", "hit", "mass", "rank", "peak_iou", "pixel_ap", "pixel_auroc"), value)
    return pd.DataFrame(rows).assign(**ABOUT, method=method, **metrics, area_gt=0.1, area_pred=0.2, status="ok")


def localized(epoch=20, **changes):
    films = pd.concat([scored("gradcam", 0.4), scored("ig", 0.05)], ignore_index=True)
    against = scored("", 0.1).assign(against="area")
    tables = {"summary": summary_table(films, chance_films=against), "chance": chance_table(films, against)}
    words = ("Lung Opacity (class PNEUMONIA): significantly above chance (area; Holm): IoU gradcam.",)
    return Localized(epoch, "marks 1a2b3c4d, threshold otsu", True, sentences=words, **tables | changes)


def contents(*parts, **more):
    run = RunTables("nih", "compact", 0, ("NO_FINDING", "PNEUMONIA"), localized=parts)
    return Contents("t", "run", "nih", "test", (run,), viewer_absent="none", **more)


def test_every_metric_has_its_interval_beside_chance():
    section = localization_section(contents(localized()))
    (group,) = section.groups
    assert [panel.title for panel in group.panels] == [
        f"{metric}: Lung Opacity as PNEUMONIA" for metric in ("IoU", "Hit rate", "Mass inside")
    ]
    assert group.panels[0].sentence == (
        "IoU: Lung Opacity as PNEUMONIA (20 films, 20 patients): gradcam 0.400 [0.400, 0.400] and ig 0.050 "
        "[0.050, 0.050]. Chance by area 0.100."
    )
    assert group.sentences == (
        ("Lung Opacity (class PNEUMONIA)", "significantly above chance (area; Holm): IoU gradcam."),
    )
    assert group.lead == "Epoch 20, marks 1a2b3c4d, threshold otsu. Intervals redraw patients."
    summary, chance = group.tables
    assert summary.frame["mean"].iloc[0] == pytest.approx(0.4)
    above = chance.frame[chance.frame["metric"] == "iou"].set_index("method")["above"]
    assert above.to_dict() == {"gradcam": "yes", "ig": "no"}


def test_the_other_kinds_of_chance_stand_in_every_panel():
    films = pd.concat([scored("gradcam", 0.4), scored("ig", 0.05)], ignore_index=True)
    kinds = [scored("", 0.1).assign(against="area"), scored("", 0.3).assign(against="mean_mask")]
    kinds += [scored(name, value).assign(against="random_weights") for name, value in (("gradcam", 0.2), ("ig", 0.0))]
    part = localized(chance=chance_table(films, pd.concat(kinds, ignore_index=True)))
    other = part.chance.assign(finding="Nodule", chance=0.9)
    part = replace(part, chance=pd.concat([part.chance, other], ignore_index=True))
    (group,) = localization_section(contents(part)).groups
    assert group.panels[0].sentence.endswith("Chance by area 0.100, mean_mask 0.300, random_weights 0.000 to 0.200.")
    assert "mean_mask" in group.panels[0].svg
    words = (*part.sentences, "Maps without contrast, left out: 0 of 40.")
    (group,) = localization_section(contents(replace(part, sentences=words))).groups
    assert len(group.sentences) == 1
    (group,) = localization_section(contents(replace(part, sentences=(*words[:-1], "Maps: 2 of 40 (ig 2).")))).groups
    assert group.sentences[-1] == ("Maps", "2 of 40 (ig 2).")


def test_undefined_is_said_and_an_untrained_head_too():
    part = localized()
    blank = part.summary.assign(mean=np.nan, ci_low=np.nan, ci_high=np.nan, status="undefined")
    (group,) = localization_section(contents(replace(part, summary=blank, trained=False))).groups
    assert "gradcam undefined (undefined) and ig undefined (undefined)" in group.panels[0].sentence
    assert "The head of this run was never trained" in group.lead


def test_one_checkpoint_is_shown_and_the_others_are_named():
    (group,) = localization_section(contents(localized(5), localized(10), localized(20))).groups
    assert group.lead.startswith("Epoch 20")
    assert group.lead.endswith("Also measured at epoch 5, 10.")
    first, second = localization_section(contents(localized(), localized())).groups
    assert not {panel.name for panel in first.panels} & {panel.name for panel in second.panels}


def test_what_is_missing_names_its_command_and_fractions_stay_away():
    report = assemble(contents())
    sections = {section.name: section for section in report.after}
    assert sections["localization"].groups[0].missing == "cxrkeras localize --run nih --boxes FILE"
    assert "fractions" not in sections


def fractions():
    rows = [
        {"backbone": "compact", "source": source, "recipe": "linear", "fraction": share, "method": "", "metric": "auc",
         "mean": mean, "sd": 0.02, "low": mean - 0.02, "high": mean + 0.02, "n_seeds": 3, "n_films": 40,
         "n_patients": 38, "status": "ok"}
        for source, means in (("imagenet", (0.7, 0.8)), ("random", (0.5, np.nan)))
        for share, mean in zip((0.01, 1.0), means, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(status=table["status"].where(table["mean"].notna(), "no_run"))


def test_label_fractions_are_told_curve_by_curve():
    (group,) = fractions_section(contents(fractions=fractions())).groups
    assert [panel.sentence for panel in group.panels] == [
        "AUC: imagenet 0.700 ± 0.020 at 1 % and 0.800 ± 0.020 at 100 %; "
        "random 0.500 ± 0.020 at 1 % and undefined (no run) at 100 %."
    ]
    assert group.lead == "Points: means over 3 seeds; bars: one standard deviation."
    assert len(group.tables[0].rows) == 4
    assert "fractions" in {section.name for section in assemble(contents(fractions=fractions())).after}


def test_more_curves_than_can_be_told_apart_leave_the_table():
    many = pd.concat([fractions().assign(source=str(place)) for place in range(9)], ignore_index=True)
    (group,) = fractions_section(contents(fractions=many)).groups
    assert group.panels == ()
    assert "No figure: a figure tells up to 8 curves apart" in group.lead
    assert len(group.tables[0].rows) == 36


def test_stored_tables_come_back_by_checkpoint_and_way(tmp_path):
    run = Run(tmp_path)
    run.checkpoint_path(4).parent.mkdir(parents=True)
    run.checkpoint_path(4).touch()
    part = localized()
    ways = [
        {"annotations": "00001234", "rule": rule, "tolerance": 0.0, "slice": "tp", "cutoff": "", "options": ""}
        for rule in ("otsu", "fixed:0.4")
    ]
    for name in ("summary", "chance"):
        table = pd.concat([getattr(part, name).assign(**way, trained="no") for way in ways], ignore_index=True)
        write_csv(run.localization_path(4, "test", name), table)
    first, second = stored_localizations(run, "test")
    assert (first.epoch, first.trained) == (4, False)
    assert first.way == "marks 00001234, threshold otsu, films with the finding"
    assert second.way == "marks 00001234, threshold fixed:0.4, films with the finding"
    assert len(first.summary) == len(part.summary)
    assert len(second.chance) == len(part.chance)
    assert "IoU gradcam; hit rate gradcam" in first.sentences[0]
    assert first.comparisons.empty
