"""The section on weights: a table of columns of their own, ranks with ties, cards that say what is unknown."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.page import assemble
from cxrkeras.report.results import SourcesTables
from cxrkeras.report.sources import cka_matrix, rank_drawing, sources_section

HOSTILE = """<b>"x"&'</script>"""


@pytest.fixture(scope="module")
def section(fake_sources):
    return sources_section(Contents("Weights", "sources", "weights", "test", (), sources=(fake_sources,)))


@pytest.fixture(scope="module")
def table(section):
    return section.groups[0].tables[0]


def column(table, name):
    return [row[table.columns.index(name)] for row in table.rows]


def test_every_quantity_has_a_column_of_its_own(table):
    assert table.sorts
    assert table.columns == (
        "candidate", "net", "probe AUC", "rank", "tied with", "AUC to the best", "LogME", "H-score", "prior order",
        "visual distance", "semantic similarity", "KID", "saw the target", "tag reversed AUC", "low-pass reversed AUC",
        "unknown fields", "status",
    )  # fmt: skip
    assert len(table.rows) == 4


def test_numbers_stand_with_their_intervals_and_sort_by_their_value(table):
    auc = column(table, "probe AUC")
    assert [(cell.text, cell.below, cell.sort) for cell in auc[:2]] == [
        ("0.910", "[0.880, 0.940]", 0.91), ("0.900", "[0.860, 0.930]", 0.9),
    ]  # fmt: skip
    assert [cell.below for cell in column(table, "LogME")] == ["± 0.020", "", "± 0.030", ""]


def test_undefined_and_unavailable_and_unknown_are_three_things(table):
    logme = column(table, "LogME")[1]
    assert (logme.text, logme.sort) == ("undefined (unbounded evidence)", "")
    assert [cell.text for cell in column(table, "KID")] == ["unavailable"] * 4
    assert [(cell.text, cell.look) for cell in column(table, "saw the target")] == [
        ("no", "good"), ("unknown", "alert"), ("yes", "alert"), ("unknown", "alert"),
    ]  # fmt: skip
    assert [cell.text for cell in column(table, "rank")] == [
        "1 [1, 2]", "2 [1, 2]", "not ranked (excluded saw target)", "not ranked (floor)",
    ]  # fmt: skip
    assert [cell.text for cell in column(table, "tied with")] == [HOSTILE, "imagenet", "none", "none"]


def test_a_rank_is_drawn_on_the_scale_of_all_ranks(table):
    svg = ElementTree.fromstring(rank_drawing(2, 1, 3, 5))
    assert svg[2].get("cx") == "22.5"
    assert svg[1].get("d") == "M5.0 6H40.0"
    assert column(table, "rank")[0].svg.startswith("<svg")
    assert column(table, "rank")[2].svg == ""


def test_panels_and_sentences_say_the_same(section):
    group = section.groups[0]
    auc, rank = (panel.sentence for panel in group.panels)
    assert auc.startswith("Probe AUC: imagenet 0.910 [0.880, 0.940]")
    assert auc.endswith("Raw pixels through the same probe: 0.700.")
    assert "seen not ranked (excluded saw target)" in rank
    assert [kind for kind, _ in group.sentences] == ["Rank", "Left out", "What to expect"]
    assert group.sentences[0][1].startswith("No candidate distinguishable: imagenet has the highest probe AUC (0.910)")
    assert group.sentences[1][1].startswith("seen was trained on the target films")
    assert "confirm by fine-tuning the top 2" in group.sentences[2][1]
    assert group.lead.startswith("300 films of 280 patients.")
    assert "The candidates have different numbers of features" in group.lead
    assert "does not predict performance" in group.lead


def test_redundancy_is_a_symmetric_matrix(section, fake_sources):
    names, values = cka_matrix(fake_sources.cka)
    assert names == ["imagenet", HOSTILE, "seen"]
    assert values == pytest.approx(np.array([[1, 0.9, 0.2], [0.9, 1, 0.3], [0.2, 0.3, 1]]))
    group = section.groups[1]
    assert group.panels[0].sentence == f"Most alike: imagenet and {HOSTILE} (0.90); least: imagenet and seen (0.20)."


def test_an_unknown_field_of_a_card_is_loud(section):
    cards = section.groups[2]
    assert cards.lead == "1 of 6 fields are unknown."
    assert cards.tables[0].columns == ("field", "imagenet", HOSTILE, "seen")
    assert [(cell.text, cell.look) for cell in cards.tables[0].rows[1]] == [
        ("licence", "name"), ("CXR", ""), ("unknown", "alert"), ("CXR", ""),
    ]  # fmt: skip


def test_regret_stands_with_the_reason_why_there_is_no_correlation(section):
    table = section.groups[3].tables[0]
    row = dict(zip(table.columns, (cell.text for cell in table.rows[0]), strict=True))
    # the probe would have taken `seen`, fine-tuned .91; the best reached .92
    assert (row["chosen by"], row["pick"], row["best"], row["regret"]) == ("probe_auc", "seen", HOSTILE, "0.010")
    assert row["weighted tau"] == "undefined (too few candidates)"


def test_what_is_missing_names_its_command():
    empty = SourcesTables("x", "artifacts/x", sources=pd.DataFrame())
    (group,) = sources_section(Contents("t", "sources", "x", "test", (), sources=(empty,))).groups
    assert group.missing == "cxrkeras sources --run artifacts/x"
    run = RunTables("kermany", "compact", 0, ("a", "b"))
    (asked,) = sources_section(Contents("t", "run", "kermany", "test", (run,))).groups
    assert asked.missing.startswith("cxrkeras sources --candidate kermany=run:kermany@best ")
    assert asked.lead.endswith("report --with kermany-sources puts them here.")
    assert sources_section(Contents("t", "robustness", "x", "test", ())) is None


def test_a_page_has_the_script_only_where_a_table_sorts(fake_sources):
    html = assemble(Contents("Weights", "sources", "weights", "test", (), sources=(fake_sources,))).html
    assert html.count("<script>") == html.count("</script>") == 1
    assert HOSTILE not in html
    assert "A column is not a decision." in html
    # words of sources alone, with those that are not computed
    for word in ("semantic similarity", "LEEP"):
        assert word in html
    assert "gold list" not in html
