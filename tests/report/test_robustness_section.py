"""The section on shortcuts: modes named, what cannot be seen, reliance, comparisons, control, and what maps show."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from cxrkeras.report import page as page_module
from cxrkeras.report import robustness as robustness_module
from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.page import assemble, write_report
from cxrkeras.report.parts import Picture
from cxrkeras.report.results import RobustnessTables
from cxrkeras.report.robustness import robustness_section
from cxrkeras.report.robustness_words import change_words, comparison_words, control_words

PICTURE = Picture("shortcuts-maps", "Examples", b"\x89PNG\r\n\x1a\n", b"\xff\xd8" + bytes(3000), "Films and maps.")


@pytest.fixture(scope="module")
def report(fake_robustness):
    found = (replace(fake_robustness, pictures=(PICTURE,)),)
    with pytest.MonkeyPatch.context() as patch:
        # each is a figure to draw
        patch.setattr(robustness_module, "METRICS", {"auc": "AUC", "ece": "calibration error"})
        return assemble(Contents("Shortcuts", "robustness", "shortcuts", "test", (), robustness=found))


@pytest.fixture(scope="module")
def groups(report):
    (section,) = report.after
    assert report.before == ()
    assert section.title == "Does it lean on a shortcut?"
    return section.groups


def test_the_mode_is_named_and_a_probe_is_no_fine_tuned_model(groups):
    assert "Mode probe" in groups[0].lead
    assert "they are not the reliance of a network that is fine-tuned from them" in groups[0].lead


def test_what_is_said_first_has_the_tables_numbers(groups, fake_robustness):
    said = groups[0].sentences
    assert [kind for kind, _ in said] == ["Invisible", "Reliance", "Reliance", "Control"]
    assert "tag changes what the network sees by 0.050 grey levels" in said[0][1]
    lean = fake_robustness.reliance
    row = lean[(lean["source"] == "imagenet") & (lean["confounder"] == "tag") & (lean["p"] == 1)].iloc[0]
    told = f"imagenet {row['reliance']:.3f} [{row['ci_lo']:.3f}, {row['ci_hi']:.3f}]"
    assert said[1][1].startswith(f"tag, mode probe: reliance at p = 1: {told} and random ")
    base = lean[(lean["confounder"] == "tag") & (lean["p"] == 0)].set_index("source")["damage"]
    assert said[1][1].endswith(
        f"learnt: imagenet {base['imagenet']:.3f} and random {base['random']:.3f}.".replace("-", "−")
    )
    # films are chosen: nothing is damaged
    assert "damage" not in said[2][1]
    # 3 shares; 5 splits of the tag and 4 of the sampled column
    assert "in all 27 places" in said[3][1]


def test_each_confounder_has_its_level_its_panels_and_its_tables(groups):
    tag, sex = groups[1:3]
    assert tag.title == "tag (environment level, external)"
    assert sex.title == "column:sex=F (patient level, demographic)"
    assert tag.lead == (
        "The network's input at 64 pixels changes by 0.05 grey levels of 255 (root mean square, over 0.4 % of it): "
        "invisible."
    )
    assert sex.lead == "No pixels changed at 64 pixels: films are chosen."
    assert [panel.title for panel in tag.panels] == [
        "AUC by share, tag", "Reliance by share, tag", "Calibration error by share, tag",
        "Map mass drawn by the tag: imagenet", "C-Score, films as in training: imagenet",
    ]  # fmt: skip
    assert len(sex.panels) == 3
    shown = [table.name.split("-")[1] for table in tag.tables]
    assert shown == ["reliance", "hidden", "comparisons", "visibility", "control", "results", "maps"]


def test_sentences_of_panels_have_the_numbers(groups, fake_robustness):
    tag, sex = groups[1:3]
    table = fake_robustness.results
    own = table[(table["source"] == "imagenet") & (table["confounder"] == "tag") & (table["p"] == 1)]
    means = own.groupby("split")["auc"].mean()
    assert tag.panels[0].sentence.startswith(f"AUC at p = 1. imagenet: iid {means['iid']:.2f} [")
    assert f"reversed {means['reversed']:.2f} [" in tag.panels[0].sentence
    assert "clean" not in sex.panels[0].sentence
    assert tag.panels[1].sentence.endswith(
        "The artefact alone moves the log-odds of the positive class by imagenet 4.00 [4.00, 4.00] and random 0.50 "
        "[0.50, 0.50]."
    )
    assert tag.panels[3].sentence == (
        "imagenet: share of the map that the artefact draws to itself at p = 1: layercam 0.400 [0.380, 0.420] and "
        "eigencam 0.000 [−0.020, 0.020]. A map that does not care has 0. The artefact covers 1 % of the film."
    )


def test_what_auc_hides_names_the_methods_that_show_it_and_those_that_do_not(groups):
    told = [words for kind, words in groups[1].sentences if kind == "AUC and maps"]
    assert "shown by the maps of layercam (+0.400" in told[0]
    assert "not shown by the maps of eigencam" in told[0]
    assert "AUC and maps" not in [kind for kind, _ in groups[2].sentences]


def test_comparisons_say_what_so_few_seeds_can_show(groups, fake_robustness):
    (told,) = [words for kind, words in groups[1].sentences if kind == "Compared"]
    assert "imagenet less random −0." in told
    assert told.endswith(
        "The smallest p that a sign-flip test over 2 seeds can give is 0.5: by seeds alone nothing can be significant."
    )
    more = fake_robustness.comparisons.assign(n_seeds=8, p_attainable=0.0078125)
    ((_, many), *_) = comparison_words(more[more["confounder"] == "tag"])
    assert many.endswith("over 8 seeds can give is 0.00781.")


def test_a_control_that_misses_is_an_alarm(fake_robustness):
    off = fake_robustness.control.copy()
    off.loc[3, ["difference", "status"]] = [-0.25, "off"]
    ((kind, told),) = control_words(off)
    assert kind == "Control missed"
    assert "1 of 27 values" in told
    assert "by up to 0.25: do not trust the other numbers" in told


def test_a_run_as_it_is_has_no_share(fake_robustness):
    lean = fake_robustness.reliance
    one = lean[(lean["source"] == "imagenet") & (lean["confounder"] == "tag") & (lean["p"] == 1)]
    trained = one.assign(p=float("nan"), delta_logit=-1.0, delta_logit_lo=-1.5, delta_logit_hi=-0.5)
    told = change_words(pd.concat([one, trained], ignore_index=True))
    assert told.endswith("imagenet 4.00 [4.00, 4.00] and imagenet as it is −1.00 [−1.50, −0.50].")


def test_what_is_missing_names_its_command(fake_robustness):
    (group,) = robustness_section(
        Contents("t", "robustness", "x", "test", (), robustness=(RobustnessTables("x", "artifacts/x"),))
    ).groups
    assert group.missing == "cxrkeras robustness --run artifacts/x"
    whole = replace(fake_robustness, maps=pd.DataFrame(), hidden=pd.DataFrame(), results=fake_robustness.results[:0])
    assert robustness_section(Contents("t", "robustness", "x", "test", (), robustness=(whole,))).groups[0].missing
    run = RunTables("kermany", "compact", 0, ("a", "b"))
    (asked,) = robustness_section(Contents("t", "run", "kermany", "test", (run,))).groups
    assert asked.missing.startswith("cxrkeras robustness --sources run:kermany@best ")
    assert robustness_section(Contents("t", "sources", "x", "test", ())) is None


def test_the_page_is_about_the_results_alone_and_its_files_stand_beside_it(report, tmp_path):
    page = write_report(report, tmp_path / "report.html", tmp_path / "report")
    html = page.read_text(encoding="utf-8")
    assert "The same AUC is not the same reasons." in html
    assert 'id="viewer"' not in html
    assert "Watch the evidence" not in html
    assert "<script" not in html
    assert "smallest p attainable" in html
    assert re.search(r'<img src="data:image/jpeg;base64,[^"]+" alt="Films and maps."', html)
    figures = {file.name for file in (tmp_path / "report" / "figures").iterdir()}
    assert {"shortcuts-maps.png", "robustness-shortcuts-tag-auc.svg"} <= figures
    assert len([name for name in figures if name.endswith(".svg")]) == 8
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_pictures_go_first_where_the_page_is_too_large(report, tmp_path, monkeypatch):
    whole = len(report.html.encode())
    monkeypatch.setattr(page_module, "LIMIT", whole - 1)
    html = write_report(report, tmp_path / "a.html", tmp_path / "a").read_text(encoding="utf-8")
    assert "Pictures were left out: the page would have been too large." in html
    assert "data:image/jpeg" not in html
    assert not (tmp_path / "a" / "figures" / "shortcuts-maps.png").exists()


def test_results_follow_what_was_measured_on_a_run(fake_sources):
    run = RunTables("kermany", "compact", 0, ("a", "b"))
    whole = Contents(
        "t", "run", "kermany", "test", (run,), robustness=(RobustnessTables("r"),), sources=(fake_sources,)
    )
    report = assemble(whole)
    assert [section.name for section in report.after][-2:] == ["robustness", "sources"]
    html = report.html
    assert "Consistent is not correct." in html
    assert html.count("<script") == 1
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert [title for title, _ in whole.made] == ["compact", "r", "weights"]


def test_a_page_on_sources_begins_with_them(fake_sources):
    whole = Contents("t", "sources", "x", "test", (), robustness=(RobustnessTables("r"),), sources=(fake_sources,))
    assert [section.name for section in assemble(whole).after] == ["sources", "robustness"]
