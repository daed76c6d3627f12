"""What knows nothing: closed forms, other patients only; and thresholds tuned elsewhere."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrkeras.errors import ScoreInputError
from cxrkeras.localization import (
    FILM_KEYS,
    area_chance,
    centre_gaussian,
    film_localization,
    mask_iou,
    mean_mask_maps,
    tuned_threshold,
)


def square(top: int, left: int, side: int, size: int = 8) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


TRUTH = square(2, 2, 4)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3])
def test_expected_hits_are_the_mean_over_every_possible_peak(tolerance):
    truth = TRUTH | square(0, 7, 1)
    hits = []
    for place in range(64):
        heat = np.zeros(64)
        heat[place] = 1
        hits.append(film_localization(heat.reshape(8, 8), truth, tolerance=tolerance)["hit"])
    assert area_chance(truth, tolerance)["hit"] == pytest.approx(np.mean(hits), abs=1e-15)


def test_expected_values_of_a_map_that_knows_nothing():
    found = area_chance(TRUTH)
    assert tuple(found) == FILM_KEYS
    assert found["hit"] == found["iou"] == 0.25 == mask_iou(np.ones((8, 8), bool), TRUTH)
    same = np.ones(64)
    assert found["pixel_ap"] == average_precision_score(TRUTH.ravel(), same)
    assert found["pixel_auroc"] == roc_auc_score(TRUTH.ravel(), same)
    rng = np.random.default_rng(0)
    drawn = [film_localization(rng.random((8, 8)), TRUTH) for _ in range(400)]
    for key in ("mass", "rank", "hit"):
        assert found[key] == 0.25 == pytest.approx(np.mean([row[key] for row in drawn]), abs=0.03)
    assert area_chance(~TRUTH & TRUTH)["status"] == "empty_truth"
    assert np.isnan(area_chance(~TRUTH & TRUTH)["hit"])
    assert np.isnan(area_chance(TRUTH | ~TRUTH)["pixel_auroc"])


def test_the_middle_is_a_quarter_of_each_side_wide():
    heat = centre_gaussian((201, 101))
    assert heat.shape == (201, 101)
    assert heat[100, 50] == heat.max() == 1
    # one standard deviation of 50.25 rows and 25.25 columns
    np.testing.assert_allclose(np.interp(150.25, range(201), heat[:, 50]), np.exp(-0.5), atol=1e-3)
    np.testing.assert_allclose(np.interp(75.25, range(101), heat[100]), np.exp(-0.5), atol=1e-3)
    np.testing.assert_array_equal(heat, heat[::-1, ::-1])
    assert film_localization(centre_gaussian((8, 8)), TRUTH)["hit"] == 1


def test_the_mean_mask_of_a_film_leaves_its_whole_patient_out():
    truths = [square(0, 0, 4), square(0, 0, 2), square(4, 4, 4), square(0, 4, 4)]
    maps = mean_mask_maps(truths, ["a", "a", "b", "c"])
    np.testing.assert_allclose(maps[0], (truths[2] + 1.0 * truths[3]) / 2)
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_allclose(maps[2], (truths[0] + 1.0 * truths[1] + truths[3]) / 3, atol=1e-7)
    assert mean_mask_maps(truths, ["a"] * 4) == [None] * 4
    assert mean_mask_maps([], []) == []
    with pytest.raises(ScoreInputError, match="Expected 4, received 1"):
        mean_mask_maps(truths, ["a"])


def test_masks_of_several_sizes_are_averaged_by_area():
    small, large = square(0, 0, 4, 8), square(0, 0, 150, 300)
    first, second, _ = mean_mask_maps([small, large, small], ["a", "b", "c"])
    np.testing.assert_allclose(first, np.where(square(0, 0, 4), 1, 0), atol=1e-6)
    np.testing.assert_allclose(second, small, atol=1e-6)
    # 300 pixels in 128 cells: every pixel counts by its share of a cell
    first, _ = mean_mask_maps([square(0, 0, 1, 300), square(100, 30, 77, 300)], ["a", "b"])
    assert first.shape == (128, 128)
    assert first.sum() == pytest.approx(77 * 77 * (128 / 300) ** 2, rel=1e-6)
    assert 0 < first[np.nonzero(first)].min() < 1 == pytest.approx(first.max())


def test_the_tuned_threshold_has_the_best_mean_overlap_and_ties_go_to_the_smallest():
    heat = np.repeat(np.arange(10.0), 10).reshape(10, 10)
    truths = {cut: heat > cut for cut in (2, 5, 7)}
    for cut, best in ((2, 0.3), (5, 0.6), (7, 0.8)):
        # values are ninths: above 0.3 and above 0.333 are the same pixels, so the smaller of equal thresholds
        assert tuned_threshold([heat], [truths[cut]]) == best
    assert tuned_threshold([heat, heat * 5], [truths[2], truths[2]]) == 0.3
    two = np.where(np.eye(4) > 0, 1.0, 0.0)
    assert tuned_threshold([two], [np.eye(4) > 0]) == 0.2
    blank, nothing = np.ones((3, 3)), np.zeros((10, 10), bool)
    assert tuned_threshold([heat, blank, heat], [truths[5], truths[2], nothing]) == 0.6
    # scaled within the lower half, its rows are 0, 0.20, 0.43, 0.70 and 1; of the whole map 0, 0.08, 0.28, 0.58 and 1
    lower = np.zeros((5, 10), bool)
    lower[3:] = True
    assert tuned_threshold([heat**2], [lower], [(0.5, 0, 1, 1)]) == 0.5
    assert tuned_threshold([heat**2], [lower]) == 0.3


def test_thresholds_are_not_tuned_on_nothing():
    with pytest.raises(ScoreInputError, match="none of 1 films"):
        tuned_threshold([np.ones((3, 3))], [TRUTH])
    with pytest.raises(ScoreInputError, match="2 maps, 1 masks"):
        tuned_threshold([np.ones((3, 3))] * 2, [TRUTH])
