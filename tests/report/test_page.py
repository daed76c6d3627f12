"""The written page: what it says, that nothing in it can become markup, and the files beside it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest

from cxrkeras.errors import RunError
from cxrkeras.events import Reporter
from cxrkeras.report import page as page_module
from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.headline import findings_section, headline_section
from cxrkeras.report.page import assemble, script_json, write_report
from cxrkeras.report.trajectories import class_section
from cxrkeras.tables import read_csv

HOSTILE = """<b>"x"&'</script>"""
CLASSES, EPOCHS, METHODS = ("NORMAL", HOSTILE), (2, 4, 6, 8), ("gradcam", "eigencam", "ms-gradcam++")


class Page(HTMLParser):
    """Elements, ids and texts of a page as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "br", "path", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag) :]

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, *within: str) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag in within).split())


@pytest.fixture(scope="module")
def html(run_page) -> str:
    return run_page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html) -> Page:
    return Page(html)


def test_names_stay_text_everywhere(html, parsed):
    assert HOSTILE not in html
    # the only bold texts are the template's own
    assert not [text for tag, text in parsed.texts if tag == "b" and text.startswith("x")]
    assert html.count("<script") == html.count("</script>") == 2
    assert "ResNet50V2 on " + HOSTILE in parsed.text("title")
    assert f"class {HOSTILE}: something" in parsed.text("li")
    assert HOSTILE in parsed.text("text")
    assert any(HOSTILE in (attributes.get("alt") or "") for tag, attributes in parsed.tags if tag == "img")


def test_json_of_a_script_cannot_end_it():
    value = {"a": ["</script><!--", "&lt;", "\u2028", HOSTILE]}
    text = str(script_json(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_the_page_asks_for_nothing(parsed):
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    (policy,) = (a["content"] for t, a in parsed.tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_resolves(html, parsed):
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = {
        attributes[name][1:]
        for _, attributes in parsed.tags
        for name in ("href", "xlink:href")
        if attributes.get(name, "")[:1] == "#"
    } | set(re.findall(r"url\(#([^)]+)\)", html))
    assert len(referred) > 50
    assert referred <= set(ids)


def test_headline_says_the_recommended_numbers_and_why_none(run_report):
    section, _ = run_report.before
    (table,) = section.groups[0].tables
    first = [cell.text for cell in table.rows[0]]
    assert first == ["gradcam", "epoch 6", "0.920", "0.580", "0.380", "0.60", "3 × 3", "changes",
                     "the only checkpoint that qualifies; chosen and measured on the same films"]  # fmt: skip
    assert [cell.below for cell in table.rows[0][2:5]] == ["[0.870, 0.950]", "[0.540, 0.620]", "± 0.020"]
    none = [cell.text for cell in table.rows[1]]
    assert none[1:4] == ["none", "0.930", "undefined (empty gold list)"]
    assert table.rows[1][1].below == "shown: epoch 8, the best AUC"
    assert [cell.look for cell in table.rows[1][2:6]] == [
        f"{look} quiet" for look in ("number", *2 * ["undefined"], "number")
    ]
    assert none[-1].startswith("epoch 8: coverage below 0.5")
    assert "3 × 3, 6 × 6" in section.groups[0].lead
    assert table.frame["macro"].tolist() == pytest.approx([0.58, float("nan"), 0.68], nan_ok=True)


def test_findings_come_first_and_information_last(run_report):
    findings = run_report.before[1].groups[0]
    assert [kind for kind, _ in findings.sentences] == [
        "Gold-list collapse", "Early warning: borne out", "Class gap (information)",
    ]  # fmt: skip
    assert findings.lead == "Differences of consistency between checkpoints that were tested: 1."
    evidence = findings.tables[0].rows[0][-1].text
    assert evidence == "coverage 0.050, best auc 0.910, before undefined"


def test_where_there_is_information_only_nothing_else_is_told(fake_run):
    (whole,) = fake_run.runs
    gaps = whole.findings[whole.findings["kind"] == "class_gap"]
    (group,) = findings_section(replace(fake_run, runs=(replace(whole, findings=gaps),))).groups
    assert [kind for kind, _ in group.sentences] == ["Class gap (information)"]
    assert group.sentences[0][1].startswith("Epoch 6, class ")


def test_nothing_found_is_not_the_same_as_nothing_tested(fake_run):
    (whole,) = fake_run.runs
    quiet = replace(whole, findings=whole.findings[:0])
    untested = replace(quiet, changes=whole.changes.assign(stderr=float("nan")))
    leads = [findings_section(replace(fake_run, runs=(run,))).groups[0].lead for run in (quiet, untested)]
    assert leads == [
        "Nothing was found. Differences of consistency between checkpoints that were tested: 1.",
        "Nothing was found, but no difference between checkpoints could be tested.",
    ]


def test_undefined_is_never_a_number(parsed, run_report):
    assert "undefined (empty gold list)" in parsed.text("td")
    sections = {section.name: section for section in run_report.after}
    macro = sections["checkpoints"].groups[0].panels[1].sentence
    assert macro.startswith("Macro C-Score at epoch 6: gradcam 0.58 [0.54, 0.62], eigencam 0.63 [0.59, 0.67] and ")
    assert "Undefined at 1 of 12 points (empty gold list)." in macro
    assert "highest 0.74 (ms-gradcam++, epoch 8)" in macro
    perturbed = sections["validity"].groups[0].panels[1].sentence
    assert "eigencam undefined (degenerate)" in perturbed
    assert "gradcam 0.100 [0.020, 0.180]" in perturbed


def test_panels_say_what_they_show(run_report):
    sections = {section.name: section for section in run_report.after}
    sentence = {name: [p.sentence for g in s.groups for p in g.panels] for name, s in sections.items()}
    assert sentence["drift"][1].endswith("eigencam 0.400 [0.350, 0.450]. Chance 0.118.")
    assert sections["drift"].groups[0].lead == (
        "1 of 2 comparisons lie above the difference between two seeds: gradcam displacement (after)."
    )
    # bin centres .1 .3 .5 .7 .9 with shares 0 .1 .2 .4 .3 and .5 .3 .2 0 0
    assert sentence["similarity"][0] == "gradcam: mean similarity by bins 0.68 within a class and 0.24 between classes."
    assert sentence["agreement"] == ["Most alike: gradcam and ms-gradcam++ (0.88); least: gradcam and eigencam (0.31)."]
    assert (
        "Verdict after the last stage: gradcam changes, eigencam changes and ms-gradcam++ changes."
        in (sentence["validity"][0])
    )
    assert sentence["sweep"][0].startswith(f"C-Score of {CLASSES[0]} at threshold τ 0.7: gradcam 0.58")
    assert len(sentence["classes"]) == len(CLASSES) + 1
    # at epoch 2 a gradcam score of .46 less the baseline .2; at epoch 6 ± t(.975, 10) · .02 = .045
    assert "gradcam 0.38 [0.34, 0.42]" in sentence["classes"][-1]
    assert "Lowest anywhere 0.26 (gradcam, epoch 2)" in sentence["classes"][-1]


def test_the_interval_of_the_excess_knows_how_few_patients_there_are(fake_run):
    (whole,) = fake_run.runs
    few = replace(whole, scores=whole.scores.assign(n_patients=4))
    panels = class_section(replace(fake_run, runs=(few,))).groups[0].panels
    # t(.975, 3) = 3.182, times .02
    assert "gradcam 0.38 [0.32, 0.44]" in panels[-1].sentence


def test_fewer_films_are_said_where_the_numbers_are_compared(fake_run):
    (whole,) = fake_run.runs
    limited = whole.scores.assign(n_images=whole.scores["n_images"].where(whole.scores["method"] != "eigencam", 6))
    table = headline_section(replace(fake_run, runs=(replace(whole, scores=limited),))).groups[0].tables[0]
    assert table.frame["n_films"].tolist() == [40, 12, 40]
    assert [row[0].below for row in table.rows] == ["", "12 of 40 films", ""]


def test_figures_and_tables_of_an_earlier_report_do_not_stay_beside_a_later_one(fake_run, tmp_path):
    bare = replace(fake_run, runs=(RunTables("bare", "compact", 0, CLASSES),), viewer=None)
    page, folder = tmp_path / "report.html", tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "tables").mkdir()
    left = [folder / "figures" / "old.png", folder / "figures" / "old.svg", folder / "tables" / "old.csv"]
    kept = folder / "tables" / "notes.txt"
    for file in (*left, kept):
        file.write_text("of another report")
    write_report(assemble(bare), page, folder)
    assert [file.exists() for file in (*left, kept)] == [False, False, False, True]


def test_what_was_not_measured_names_its_command(study_page):
    text = Page(study_page.read_text(encoding="utf-8")).text("code")
    assert "cxrkeras score --run other-run --epoch all" in text
    assert "cxrkeras validity --run other-run" in text
    bare = Contents("t", "run", "bare", "test", (RunTables("bare", "compact", 0, CLASSES),), viewer_absent="No films.")
    report = assemble(bare)
    commands = {s.name: s.groups[0].missing or s.groups[-1].missing for s in (*report.before, *report.after)}
    assert commands.pop("drift") == "cxrkeras drift --run bare"
    assert commands.pop("validity") == "cxrkeras validity --run bare"
    assert commands.pop("localization") == "cxrkeras localize --run bare --boxes FILE"
    assert commands.pop("robustness").startswith("cxrkeras robustness --sources run:bare@best ")
    assert commands.pop("sources").startswith("cxrkeras sources --candidate bare=run:bare@best ")
    assert set(commands.values()) == {"cxrkeras score --run bare --epoch all"}
    assert "No viewer. No films." in Page(report.html).text("p")
    assert "viewer-data" not in report.html


def test_a_study_tells_backbones_apart_and_counts_reversals(study_report):
    sections = {section.name: section for section in study_report.after}
    drift = sections["drift"].groups
    assert drift[0].panels[0].sentence.count("gradcam · ") == 2
    assert drift[-1].lead == (
        "1 of 1 comparisons reverse: displacement (all): gradcam against eigencam in ResNet50V2 and DenseNet201."
    )
    assert [group.title for group in sections["checkpoints"].groups] == ["ResNet50V2", "DenseNet201"]


def test_figures_and_tables_are_files_too(fake_run, run_page):
    figures = run_page.parent / "report" / "figures"
    pngs, svgs = (sorted(file.stem for file in figures.glob(f"*.{kind}")) for kind in ("png", "svg"))
    assert pngs == svgs
    assert len(pngs) == 20
    assert all((figures / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in pngs)
    words = "".join("".join(ElementTree.parse(figures / f"{name}.svg").getroot().itertext()) for name in svgs)
    assert f"C-Score of {HOSTILE}" in words
    tables = run_page.parent / "report" / "tables"
    macro = read_csv(tables / "macro-fake-run.csv")
    assert macro["score"].tolist() == pytest.approx(fake_run.runs[0].macro["score"].tolist(), nan_ok=True)
    classes = read_csv(tables / "classes-fake-run.csv", text=("class",))
    assert set(classes["class"]) == set(CLASSES)
    assert len(classes) == len(EPOCHS) * len(METHODS) * len(CLASSES)


def test_a_page_over_the_limit_loses_films_and_says_so(fake_run, monkeypatch, tmp_path):
    told = []

    class Ear(Reporter):
        def notice(self, text):
            told.append(text)

    light = replace(fake_run, runs=(RunTables("bare", "compact", 0, CLASSES),))
    whole = len(assemble(light).html.encode())
    monkeypatch.setattr(page_module, "LIMIT", whole - 1)
    written = write_report(assemble(light), tmp_path / "a.html", tmp_path / "a", Ear()).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', written).group(1))
    assert len(data["films"]) == 4
    assert [len(epoch) for epoch in data["runs"][0]["probabilities"]] == [4] * len(EPOCHS)
    assert told == [f"the report would take {whole / 1e6:.1f} MB: the viewer keeps 4 of 6 films."]
    monkeypatch.setattr(page_module, "LIMIT", 1000)
    with pytest.raises(RunError, match="without a viewer"):
        write_report(assemble(light), tmp_path / "b.html", tmp_path / "b", Ear())
    assert not (tmp_path / "b.html").exists()
    assert "left out" in told[-1]


def test_text_is_readable_on_its_ground(html):
    """WCAG AA, 4.5 : 1, for every pair of the style sheet."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", html))
    for ink in ("ink", "quiet", "link", "alert", "good"):
        for ground in ("paper", "ground", "mark"):
            pair = sorted((luminance(colours[ink]), luminance(colours[ground])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, ground)


def test_headings_and_landmarks(parsed):
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("h1") == tags.count("main") == tags.count("nav") == 1
    labelled = {attributes.get("aria-labelledby") for tag, attributes in parsed.tags if tag == "section"}
    assert len(labelled) == 16
    assert labelled <= {attributes.get("id") for _, attributes in parsed.tags}
    assert pd.Series([a.get("alt") for t, a in parsed.tags if t == "img"]).str.len().min() > 10
