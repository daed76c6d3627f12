"""One map against one mask: known answers, scikit-learn, invariances, and what has no score."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.localization import FILM_KEYS, FILM_METRICS, film_localization, mask_iou
from cxrkeras.localization.metrics import pixel_ranking, scaled_map
from cxrkeras.maps import resize


def box(rows: slice, columns: slice, size: int = 8) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[rows, columns] = True
    return mask


TRUTH = box(slice(2, 6), slice(2, 6))
SEEN = box(slice(4, 8), slice(4, 8))


@pytest.mark.parametrize(
    ("truth", "iou"),
    [
        (TRUTH, 4 / 28),
        (TRUTH | box(slice(0, 2), slice(0, 2)), 4 / 32),
        (TRUTH | box(slice(6, 8), slice(6, 8)), 8 / 28),
        (SEEN, 1),
        (box(slice(0, 4), slice(0, 4)), 0),
    ],
)
def test_overlap_of_squares(truth, iou):
    found = film_localization(SEEN.astype(float), truth)
    assert found["iou"] == found["peak_iou"] == pytest.approx(iou, abs=1e-15)
    assert (found["area_gt"], found["area_pred"], found["status"]) == (truth.mean(), 0.25, "ok")
    assert found["iou"] == pytest.approx(jaccard_score(truth.ravel(), SEEN.ravel()))


def test_overlap_of_masks_with_nothing_and_everything():
    nothing, everything = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    assert mask_iou(TRUTH, everything) == 0.25
    assert mask_iou(TRUTH, nothing) == 0
    assert np.isnan(mask_iou(nothing, nothing))


@pytest.mark.parametrize(
    ("truth", "predicted", "shared", "iou"),
    [
        (962252, 789457, 553834, 0.462347),
        (867107, 741012, 431050, 0.366206),
        (163040, 1893873, 0, 0.0),
        (47345, 1196531, 40075, 0.033290),
    ],
)
def test_overlap_of_the_pixel_counts_that_chexlocalize_publishes(truth, predicted, shared, iou):
    # its two sample films are not ours to ship; the overlap depends on three counts only
    place = np.arange(truth + predicted - shared)[None]
    assert mask_iou(place < truth, place >= truth - shared) == pytest.approx(iou, abs=1e-6)


def test_mass_and_rank_are_those_of_quantus():
    heat, truth = np.arange(16.0).reshape(4, 4), box(slice(2, 4), slice(2, 4), 4)
    found = film_localization(heat, truth)
    assert found["mass"] == pytest.approx(0.4166667, abs=1e-7)
    assert (found["rank"], found["hit"]) == (0.5, 1)


def test_rank_counts_ties_by_expectation():
    # 25 strong pixels elsewhere and 39 tied zeros: a truth of 32 takes 25 of them and 7 of 39 by lot
    heat = box(slice(0, 5), slice(0, 5)).astype(float)
    inside, outside = box(slice(5, 8), slice(0, 8)), box(slice(0, 4), slice(0, 4))
    assert film_localization(heat, inside)["rank"] == 0
    wide = inside | box(slice(0, 4), slice(6, 8))
    assert film_localization(heat, wide)["rank"] == pytest.approx(7 / 39)
    assert film_localization(heat, outside)["rank"] == pytest.approx(16 / 25)


def test_a_hit_is_the_first_strongest_pixel_within_a_euclidean_distance():
    heat = np.zeros((9, 9))
    heat[2, 2] = heat[8, 8] = 1
    assert film_localization(heat, box(slice(8, 9), slice(8, 9), 9))["hit"] == 0
    truth = box(slice(5, 6), slice(6, 7), 9)
    for tolerance, hit in ((0, 0), (4.99, 0), (5, 1), (50, 1)):
        assert film_localization(heat, truth, tolerance=tolerance)["hit"] == hit


def test_peak_overlap_is_that_of_the_part_with_the_peak():
    heat = np.zeros((8, 8))
    heat[0:2, 0:2], heat[4:8, 4:8] = 1.0, 0.9
    found = film_localization(heat, SEEN)
    assert (found["iou"], found["peak_iou"], found["hit"]) == (16 / 20, 0, 0)
    heat[4, 4] = 1.1
    assert film_localization(heat, SEEN)["peak_iou"] == 1


def test_pixel_ranking_is_scikit_learns_with_and_without_ties():
    rng = np.random.default_rng(0)
    for levels in (2, 5, 10_000):
        scaled = rng.integers(0, levels, (40, 30)).astype(np.float32)
        truth = rng.random((40, 30)) < rng.uniform(0.01, 0.9)
        expected = [score(truth.ravel(), scaled.ravel()) for score in (average_precision_score, roc_auc_score)]
        np.testing.assert_allclose(pixel_ranking(scaled, truth), expected, atol=1e-12)
        found = film_localization(scaled, truth)
        np.testing.assert_allclose([found["pixel_ap"], found["pixel_auroc"]], expected, atol=1e-12)


@pytest.fixture
def film():
    rng = np.random.default_rng(3)
    return rng.gamma(2, size=(7, 9)), box(slice(10, 34), slice(5, 30), 64)


@pytest.mark.parametrize("threshold", ["otsu", "fixed:0.4", "top:0.1"])
def test_scaling_and_shifting_a_map_change_nothing(film, threshold):
    heat, truth = film
    found = film_localization(heat, truth, threshold=threshold, tolerance=2)
    assert 0 < found["iou"] < 1
    # powers of two are exact; other numbers may carry a pixel over a level's edge by rounding
    same = film_localization(heat * 2.0**40, truth, threshold=threshold, tolerance=2)
    assert same == found
    for other in (heat * 1e-200, heat * 1e200, heat * 37 + 5, heat * 3 - 100):
        near = film_localization(other, truth, threshold=threshold, tolerance=2)
        for key in FILM_METRICS:
            assert near[key] == pytest.approx(found[key], abs=2e-3), key


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_mirroring_map_and_truth_together_changes_nothing(film, turn):
    heat, truth = film
    found = film_localization(resize(heat[None], (64, 64))[0], truth)
    turned = film_localization(turn(resize(heat[None], (64, 64))[0]), turn(truth))
    for key in FILM_KEYS:
        assert turned[key] == pytest.approx(found[key], abs=1e-12), key


def test_the_map_is_enlarged_to_the_truth_and_never_the_truth_to_the_map(film):
    heat, truth = film
    found = film_localization(heat, truth)
    enlarged = film_localization(resize(heat[None], truth.shape)[0], truth)
    assert enlarged == pytest.approx(found, abs=2e-3)
    for side in (16, 128):
        step = side / 64
        other = np.kron(truth, np.ones((2, 2), bool)) if side > 64 else truth[::4, ::4]
        assert film_localization(heat, other)["area_gt"] == pytest.approx(other.mean())
        assert film_localization(heat, other)["mass"] == pytest.approx(found["mass"], abs=0.05 / step)
    assert film_localization(np.arange(4.0).reshape(2, 2), truth)["area_gt"] == truth.mean()


def test_a_region_of_the_map_is_what_the_truth_covers():
    # a film of 32 × 64 in a square input stands between two bands; what lies in the bands does not count
    heat = np.zeros((8, 8))
    heat[0], heat[4, 6] = 9.0, 1.0
    truth = np.zeros((32, 64), bool)
    truth[16:24, 48:56] = True
    whole = film_localization(heat, truth)
    found = film_localization(heat, truth, region=(0.25, 0, 0.75, 1))
    assert (whole["hit"], found["hit"]) == (0, 1)
    cut = resize(heat[None], (64, 64))[0][16:48]
    assert found == pytest.approx(film_localization(cut, truth), abs=1e-7)


@pytest.mark.parametrize(
    "heat",
    [
        np.zeros((7, 7)),
        np.full((7, 7), 3.0),
        np.full((7, 7), np.nan),
        np.where(np.eye(7) > 0, np.inf, 0),
        1 + 1e-9 * np.arange(49.0).reshape(7, 7),
    ],
    ids=["zero", "constant", "nan", "infinite", "rounding"],
)
@pytest.mark.parametrize("threshold", ["otsu", "fixed:0", "top:1"])
def test_a_map_without_contrast_never_scores(heat, threshold):
    truth = np.ones((16, 16), bool)
    truth[0] = False
    found = film_localization(heat, truth, threshold=threshold, tolerance=100)
    assert found["status"] == "degenerate"
    assert np.isnan([found[key] for key in (*FILM_METRICS, "area_pred", "threshold")]).all()
    assert found["area_gt"] == 15 / 16
    assert tuple(found) == FILM_KEYS


def test_a_map_whose_film_part_is_flat_has_no_contrast_either():
    heat = np.zeros((8, 8))
    heat[0] = 1
    assert scaled_map(heat, (32, 64), (0.25, 0, 0.75, 1)) is None


def test_an_empty_mask_of_a_map_with_contrast_overlaps_nothing():
    heat = np.zeros((8, 8))
    heat[3, 3] = 1
    found = film_localization(heat, TRUTH)
    assert (found["status"], found["iou"], found["peak_iou"], found["area_pred"]) == ("empty_mask", 0, 0, 0)
    assert (found["hit"], found["mass"]) == (1, 1)


def test_truths_of_nothing_and_of_everything():
    heat, nothing = SEEN.astype(float), np.zeros((8, 8), bool)
    found = film_localization(heat, nothing)
    assert (found["status"], found["area_gt"]) == ("empty_truth", 0)
    assert np.isnan([found[key] for key in FILM_METRICS]).all()
    found = film_localization(heat, ~nothing)
    assert (found["status"], found["iou"], found["hit"], found["mass"]) == ("full_truth", 0.25, 1, 1)
    assert (found["rank"], found["pixel_ap"]) == (1, 1)
    assert np.isnan(found["pixel_auroc"])


def test_a_cutoff_empties_the_mask_and_lets_negatives_count():
    heat, nothing = SEEN.astype(float), np.zeros((8, 8), bool)
    cut = {"cutoff": 0.5}
    missed = film_localization(heat, TRUTH, probability=0.49, **cut)
    assert (missed["status"], missed["iou"], missed["peak_iou"]) == ("below_cutoff", 0, 0)
    # hit, mass and rank judge the map, not the decision
    kept = film_localization(heat, TRUTH, probability=0.5, **cut)
    assert kept == film_localization(heat, TRUTH)
    assert (missed["hit"], missed["mass"]) == (kept["hit"], kept["mass"])
    false_alarm = film_localization(heat, nothing, probability=0.9, **cut)
    assert (false_alarm["status"], false_alarm["iou"]) == ("empty_truth", 0)
    right = film_localization(heat, nothing, probability=0.1, **cut)
    assert right["status"] == "both_empty"
    assert np.isnan(right["iou"])
    for probability in (None, float("nan")):
        with pytest.raises(UsageError, match="needs the probability"):
            film_localization(heat, TRUTH, probability=probability, **cut)


@pytest.mark.parametrize(
    ("heat", "truth", "tolerance", "message"),
    [
        (np.ones((1, 8, 8)), TRUTH, 0, r"\(1, 8, 8\)"),
        (np.ones((8, 8)), TRUTH.astype(float), 0, "float64"),
        (np.ones((8, 8)), np.zeros((0, 8), bool), 0, r"\(0, 8\)"),
        (np.ones((8, 8)), TRUTH, -1, "0 or more"),
    ],
)
def test_what_does_not_fit_is_refused(heat, truth, tolerance, message):
    with pytest.raises((ScoreInputError, UsageError), match=message):
        film_localization(heat, truth, tolerance=tolerance)
