"""Means by finding and method: blanks counted two ways, patients or images resampled, chance, humans, size, readers."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.localization import FILM_METRICS, SUMMARY_COLUMNS, reader_table, summary_table, tercile_table
from cxrkeras.localization.rows import chexlocalize_limits
from cxrkeras.stats import bootstrapped_mean, patient_bootstrap


def row_of(table: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def blank(table: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    table.loc[rows, list(FILM_METRICS)] = np.nan
    table.loc[rows, "status"] = "degenerate"
    return table


def test_means_are_those_of_the_films_and_intervals_those_of_the_patients(films):
    table = films(36, patient=[f"p{i // 3}" for i in range(36)])
    other = films(12, finding="Nodule", method="ig", seed=1)
    found = summary_table(pd.concat([table, other]), n_resamples=300, seed=4)
    assert tuple(found.columns) == SUMMARY_COLUMNS
    assert found["metric"].tolist() == [*FILM_METRICS, *FILM_METRICS]
    for metric in FILM_METRICS:
        row = row_of(found, finding="Mass", metric=metric)
        inside = bootstrapped_mean(table[metric].to_numpy(), table["patient"], 300, 4)
        assert (row["mean"], row["ci_low"], row["ci_high"]) == (inside.estimate, inside.low, inside.high)
        assert (row["mean_zero"], row["ci_low_zero"]) == (inside.estimate, inside.low)
        assert (row["n"], row["n_patients"], row["n_nan"], row["n_degenerate"]) == (36, 12, 0, 0)
        assert row["chance"] == (0.5 if metric == "pixel_auroc" else pytest.approx(table["area_gt"].mean()))
        assert (row["class"], row["method"], row["bootstrap"], row["status"]) == ("MASS", "gradcam", "patient", "ok")
    assert found[["human", "percent_decrease", "percent_decrease_low"]].isna().all(axis=None)


def test_blank_maps_are_left_out_of_one_mean_and_count_as_zero_in_the_other(films):
    table = blank(films(20), [0, 1, 2, 3, 4])
    table.loc[5, ["iou", "status"]] = [np.nan, "both_empty"]
    row = row_of(summary_table(table), metric="iou")
    assert row["mean"] == pytest.approx(table["iou"].mean())
    assert row["mean_zero"] == pytest.approx(table["iou"].sum() / 19)
    assert (row["n"], row["n_nan"], row["n_degenerate"]) == (14, 6, 5)
    assert row["ci_low_zero"] < row["ci_low"]
    known = table["iou"].notna()
    assert row["chance"] == pytest.approx(table.loc[known, "area_gt"].mean())
    every = row_of(summary_table(blank(films(12), list(range(12)))), metric="hit")
    assert (every["status"], every["mean_zero"], every["n"]) == ("undefined", 0, 0)
    assert np.isnan([every["mean"], every["ci_low"], every["chance"]]).all()


def test_under_ten_patients_there_is_a_mean_and_no_interval(films):
    table = films(30, patient=[f"p{i % 9}" for i in range(30)])
    row = row_of(summary_table(table), metric="iou")
    assert (row["status"], row["n_patients"], row["mean"]) == ("too_few_patients", 9, table["iou"].mean())
    assert np.isnan(row[["ci_low", "ci_high", "ci_low_zero", "ci_high_zero"]].astype(float)).all()


def test_images_are_resampled_as_chexlocalize_does(films):
    assert chexlocalize_limits(np.random.default_rng(0).permutation(1000) / 1000) == (0.024, 0.974)
    table = films(8, patient="one")
    table.loc[2, "iou"] = np.nan
    row = row_of(summary_table(table, bootstrap="image", seed=7), metric="iou")
    values, rng = table["iou"].to_numpy(), np.random.default_rng(7)
    means = np.sort([np.nanmean(values[rng.integers(8, size=8)]) for _ in range(1000)])
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(means[24]), pytest.approx(means[974]))
    assert (row["mean"], row["status"], row["bootstrap"]) == (pytest.approx(np.nanmean(values)), "ok", "image")
    single = row_of(summary_table(table.iloc[:1], bootstrap="image"), metric="iou")
    assert (single["status"], single["mean"]) == ("one_film", values[0])
    assert np.isnan([single["ci_low"], single["ci_high"]]).all()


def test_chance_films_give_the_chance_of_a_hit_with_tolerance(films):
    table = films(12)
    chance = table.assign(method="", against="area", hit=0.3)
    other = chance.assign(against="centre", hit=0.9)
    found = summary_table(table, chance_films=pd.concat([chance, other]))
    assert row_of(found, metric="hit")["chance"] == pytest.approx(0.3)
    assert row_of(found, metric="iou")["chance"] == pytest.approx(chance["iou"].mean())


@pytest.mark.parametrize("bootstrap", ["patient", "image"])
def test_the_decrease_from_humans_is_paired(films, bootstrap):
    table = films(24, seed=3)
    human = table[["image", "finding"]].assign(iou=table["iou"] * 2 + np.linspace(0, 0.1, 24)).iloc[2:]
    table.loc[5, "iou"] = np.nan
    row = row_of(summary_table(table, human=human, bootstrap=bootstrap), metric="iou")
    pairs = np.column_stack([human["iou"], table["iou"].iloc[2:]])
    pairs = pairs[~np.isnan(pairs).any(axis=1)]

    def decrease(rows: np.ndarray) -> float:
        read, seen = pairs[rows].mean(axis=0)
        return 100 * (read - seen) / read

    slow = patient_bootstrap(decrease, range(21))
    assert row["human"] == pytest.approx(pairs[:, 0].mean())
    assert row["percent_decrease"] == pytest.approx(slow.estimate) == pytest.approx(52, abs=3)
    reach = 0 if bootstrap == "patient" else 0.2
    assert row["percent_decrease_low"] == pytest.approx(slow.low, abs=reach + 1e-9)
    assert row["percent_decrease_high"] == pytest.approx(slow.high, abs=reach + 1e-9)
    # paired: far narrower than the two means on their own
    assert slow.high - slow.low < 25 * (row["ci_high"] - row["ci_low"])
    assert np.isnan(row_of(summary_table(table, human=human), metric="hit")["percent_decrease"])


def test_tables_that_cannot_be_summarised_are_refused(films):
    with pytest.raises(ScoreInputError, match="lack the columns patient, rank"):
        summary_table(films(3).drop(columns=["patient", "rank"]))
    with pytest.raises(ScoreInputError, match=r"1 rows are there twice, first image 'Mass0.png'"):
        summary_table(pd.concat([films(3), films(1)]))
    with pytest.raises(UsageError, match="Did you mean 'patient'"):
        summary_table(films(3), bootstrap="patients")
    assert tuple(summary_table(films(3).iloc[:0]).columns) == SUMMARY_COLUMNS


def test_thirds_by_size_are_the_same_films_for_every_method(films):
    area = np.repeat([0.01, 0.05, 0.3], 12)
    first = films(36, area_gt=area, iou=area * 2)
    second = films(36, method="ig", area_gt=area, iou=0.5)
    second.loc[[0, 1, 2], "iou"] = np.nan
    nothing = films(1, finding="Mass").assign(image="negative.png", area_gt=0.0, iou=0.0)
    found = tercile_table(pd.concat([first, second, nothing]))
    for name, size in (("small", 0.01), ("medium", 0.05), ("large", 0.3)):
        row = row_of(found, method="gradcam", tercile=name)
        assert (row["area_low"], row["area_high"], row["n"], row["status"]) == (size, size, 12, "ok")
        assert row["mean"] == pytest.approx(2 * size) == pytest.approx(row["ci_low"])
    row = row_of(found, method="ig", tercile="small")
    assert (row["n"], row["n_patients"], row["status"], row["mean"]) == (9, 9, "too_few_patients", 0.5)
    same = row_of(tercile_table(films(12, area_gt=0.1)), tercile="medium")
    assert (same["status"], same["n"]) == ("no_film", 0)
    assert np.isnan([same["area_low"], same["mean"]]).all()
    tied = tercile_table(films(4, area_gt=[0.1, 0.1, 0.1, 0.2]))
    assert dict(zip(tied["tercile"], tied["n"], strict=True)) == {"small": 3, "medium": 0, "large": 1}
    sizes = tercile_table(films(30)).groupby("tercile")["n"].sum()
    assert sizes.to_dict() == {"small": 10, "medium": 10, "large": 10}


def test_readers_are_compared_on_films_that_both_marked():
    masks = {"NIH": np.eye(4) > 0, "RSNA": np.ones((4, 4)) > 0}
    marks = [("Mass", f"p{i}", masks) for i in range(11)] + [("Mass", "p11", {"NIH": masks["NIH"]})]
    marks += [("Nodule", "p0", {"RSNA": masks["RSNA"], "NIH": masks["RSNA"]})]
    found = reader_table(iter(marks))
    mass, nodule = found.iloc[0], found.iloc[1]
    assert (mass["first"], mass["second"], mass["iou"], mass["ci_high"]) == ("NIH", "RSNA", 0.25, 0.25)
    assert (mass["n"], mass["n_patients"], mass["status"]) == (11, 11, "ok")
    assert (nodule["finding"], nodule["iou"], nodule["status"]) == ("Nodule", 1, "too_few_patients")
    with pytest.raises(ScoreInputError, match=r"\(4, 4\) and RSNA \(2, 2\)"):
        reader_table([("Mass", "p", masks | {"RSNA": np.ones((2, 2)) > 0})])
