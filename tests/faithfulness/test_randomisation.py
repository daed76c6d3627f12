"""The randomisation check says `unchanged` exactly where maps stayed, and never where too few could be compared."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.faithfulness.randomisation import COLUMNS, FEWEST_COMPARED, UNCHANGED_FROM, RandomisationCheck, verdict


def maps(n=12, seed=0, grid=(5, 7)):
    return np.random.default_rng(seed).random((n, *grid), np.float32)


def checked(before, *stages):
    check = RandomisationCheck({"method": before})
    for number, after in enumerate(stages):
        check.update(f"stage{number}", number + 1, {"method": after})
    return check.summary()


def test_equal_maps_are_unchanged_whatever_their_scale():
    row = checked(maps(), maps() * 1e-6).iloc[0]
    assert row["verdict"] == "unchanged"
    for name in ("correlation", "correlation_low", "correlation_high", "top_iou"):
        assert row[name] == pytest.approx(1, abs=1e-6)
    assert (row["n_films"], row["n_compared"], row["n_degenerate"]) == (12, 12, 0)


def test_an_inverted_map_has_changed():
    row = checked(maps(), -maps()).iloc[0]
    assert row["correlation"] == pytest.approx(-1)
    assert row["top_iou"] == 0
    assert row["verdict"] == "changes"


def test_correlations_are_those_of_numpy_and_their_quantiles():
    before, after = maps(40), maps(40, seed=1) + maps(40)
    each = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(before, after, strict=True)]
    row = checked(before, after).iloc[0]
    assert row["correlation"] == pytest.approx(np.median(each), abs=1e-6)
    assert row["correlation_low"] == pytest.approx(np.quantile(each, 0.05), abs=1e-6)
    assert row["correlation_high"] == pytest.approx(np.quantile(each, 0.95), abs=1e-6)
    # 35 cells: the strongest fifth are seven
    first, second = (np.argsort(-m.reshape(40, -1), axis=1)[:, :7] for m in (before, after))
    shared = [len(set(a) & set(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert row["top_iou"] == pytest.approx(np.median([k / (14 - k) for k in shared]))
    assert row["verdict"] == "changes"


def test_degenerate_maps_are_counted_and_never_compared():
    before, after = maps(14), maps(14)
    before[0] = 0
    after[0] = 0
    after[1] = np.nan
    after[2] = 3.5
    before[3] = 1 + 1e-7 * before[3]
    row = checked(before, after).iloc[0]
    assert (row["n_films"], row["n_compared"], row["n_degenerate"]) == (14, 10, 4)
    assert row["verdict"] == "unchanged"
    after[4] = 0
    row = checked(before, after).iloc[0]
    assert row["n_compared"] == FEWEST_COMPARED - 1
    assert row["correlation"] == pytest.approx(1)
    assert row["verdict"] == "undefined"


def test_a_dead_network_is_undefined_not_changed():
    row = checked(maps(), np.zeros_like(maps())).iloc[0]
    assert row["verdict"] == "undefined"
    assert row[["correlation", "correlation_low", "correlation_high", "top_iou"]].isna().all()
    assert (row["n_compared"], row["n_degenerate"]) == (0, 12)


def test_draws_of_a_stage_are_pooled():
    check = RandomisationCheck({"method": maps(6)})
    for after in (maps(6), np.zeros_like(maps(6)), -maps(6)):
        check.update("head", 1, {"method": after})
    row = check.summary().iloc[0]
    assert (row["n_films"], row["n_compared"], row["n_degenerate"]) == (6, 12, 6)
    assert (row["correlation_low"], row["correlation_high"]) == pytest.approx((-1, 1))


def test_a_row_per_method_and_stage_the_whole_cascade_last():
    check = RandomisationCheck({"a": maps(), "b": maps(seed=1, grid=(3, 3))})
    for stage, layers in (("head", 1), ("everything", 9)):
        check.update(stage, layers, {"a": maps(), "b": maps(seed=2, grid=(3, 3))})
    table = check.summary()
    assert tuple(table.columns) == COLUMNS
    assert table[["method", "stage", "layers"]].values.tolist() == [
        ["a", "head", 1],
        ["a", "everything", 9],
        ["b", "head", 1],
        ["b", "everything", 9],
    ]
    assert table["verdict"].tolist() == ["unchanged", "unchanged", "changes", "changes"]


def test_the_verdict_has_one_threshold():
    assert verdict(UNCHANGED_FROM, FEWEST_COMPARED) == "unchanged"
    assert verdict(np.nextafter(UNCHANGED_FROM, 0), FEWEST_COMPARED) == "changes"
    assert verdict(1.0, FEWEST_COMPARED - 1) == "undefined"


def test_other_films_are_refused():
    with pytest.raises(ScoreInputError, match=r"method needs maps of the same films.*\(12, 5, 7\).*\(11, 5, 7\)"):
        checked(maps(), maps(11))
