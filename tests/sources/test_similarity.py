"""KID, CKA, visual and semantic similarity: values by hand, expectations, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.metrics.pairwise import polynomial_kernel

from cxrkeras.errors import ScoreInputError
from cxrkeras.sources import (
    SourceCard,
    cka_table,
    film_statistics,
    kid,
    linear_cka,
    semantic_similarity,
    squared_mmd,
    visual_distance,
)
from cxrkeras.sources.similarity import spectrum_slope


def test_squared_mmd_by_hand_and_against_another_kernel():
    assert squared_mmd([[1, 0], [0, 1]], [[1, 1], [1, 1]]) == pytest.approx(2.25, abs=1e-12)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(7, 4)) + 1
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=1 / 4, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace()) / 72 + (yy.sum() - yy.trace()) / 42
    assert squared_mmd(x, y) == pytest.approx(within - 2 * xy.mean(), rel=1e-12)


def test_kid_of_one_distribution_is_0_on_average_and_may_be_negative():
    rng = np.random.default_rng(1)
    values = [squared_mmd(rng.normal(size=(30, 5)), rng.normal(size=(30, 5))) for _ in range(200)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)


def test_kid_averages_seeded_subsets():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(31, 6)) + 0.5
    found = kid(x, y, seed=3)
    assert (found.n_subsets, found.subset_size, found.status) == (100, 15, "ok")
    draw = np.random.default_rng(3)
    each = [
        squared_mmd(x[draw.choice(40, 15, replace=False)], y[draw.choice(31, 15, replace=False)]) for _ in range(100)
    ]
    assert (found.value, found.sd) == (pytest.approx(np.mean(each)), pytest.approx(np.std(each, ddof=1)))
    assert kid(x, y, seed=4).value != found.value
    few = kid(x[:3], y)
    assert (few.status, np.isnan(few.value)) == ("too_few_films", True)
    with pytest.raises(ScoreInputError, match="one extractor"):
        kid(x, y[:, :2])


def test_linear_cka_by_hand():
    x = np.random.default_rng(0).normal(size=(300, 4))
    turned = 5 * x @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0] + 2
    for form in ("plain", "debiased"):
        assert linear_cka(x, x, form).value == pytest.approx(1, abs=1e-12)
        assert linear_cka(x, turned, form).value == pytest.approx(1, abs=1e-12)
    one, other = x[:, :1], x[:, :1] + x[:, 1:2]
    assert linear_cka(one, other).value == pytest.approx(np.corrcoef(one.T, other.T)[0, 1] ** 2, abs=1e-12)
    half = np.array([[1.0], [-1], [1], [-1], [0], [0], [0], [0]])
    assert linear_cka(half, [[1], [-1], [0], [0], [1], [-1], [0], [0]], "plain").value == pytest.approx(0.25)


def test_few_films_are_compared_without_their_bias():
    rng = np.random.default_rng(3)
    pairs = [(rng.normal(size=(40, 6)), rng.normal(size=(40, 6))) for _ in range(200)]
    plain = [linear_cka(x, y, "plain").value for x, y in pairs]
    debiased = [linear_cka(x, y).value for x, y in pairs]
    assert linear_cka(*pairs[0]).form == "debiased"
    assert np.mean(plain) == pytest.approx(0.13, abs=0.01)
    assert abs(np.mean(debiased)) < 0.01
    assert linear_cka(rng.normal(size=(60, 6)), rng.normal(size=(60, 3))).form == "plain"


def test_the_debiased_form_counts_no_film_with_itself():
    """The U-statistic of HSIC, term by term (Song et al. 2012, eq. 5)."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 5))

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        k, m, n = k.copy(), m.copy(), len(k)
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        ones = k.sum() * m.sum() / ((n - 1) * (n - 2))
        return (np.trace(k @ m) + ones - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert linear_cka(x, y, "debiased").value == pytest.approx(expected, rel=1e-10)


def test_a_table_of_every_pair():
    rng = np.random.default_rng(5)
    features = {"a": rng.normal(size=(50, 3)), "b": rng.normal(size=(50, 9))}
    features["c"] = features["a"].copy()
    table = cka_table({**features, "d": np.ones((50, 2))}).set_index(["first", "second"])
    assert len(table) == 6
    assert table.loc[("a", "c"), "cka"] == pytest.approx(1)
    assert table.loc[("a", "c"), "form"] == "plain"
    assert table.loc[("a", "b"), "form"] == "debiased"
    assert table.loc[("a", "b"), "cka"] == pytest.approx(linear_cka(features["a"], features["b"]).value)
    assert table.loc[("a", "d"), "status"] == "constant_features"
    order = rng.permutation(50)
    moved = cka_table({name: array[order] for name, array in features.items()})
    np.testing.assert_allclose(moved["cka"], table.loc[[("a", "b"), ("a", "c"), ("b", "c")], "cka"], atol=1e-12)
    with pytest.raises(ScoreInputError, match="same films"):
        cka_table({"a": np.ones((3, 2)), "b": np.ones((4, 2))})


def test_grey_histograms_are_apart_by_the_mean_shift_of_a_pixel():
    rng = np.random.default_rng(0)
    films, others = rng.integers(0, 200, (5, 32, 32)), rng.integers(0, 256, (4, 24, 40))
    first = film_statistics(films)
    assert (first.n_films, first.histogram.sum()) == (5, pytest.approx(1))
    assert visual_distance(first, film_statistics(films + 51)).histogram == pytest.approx(51 / 255)
    found = visual_distance(first, film_statistics(others)).histogram
    assert found == pytest.approx(wasserstein_distance(films.ravel(), others.ravel()) / 255)
    assert visual_distance(film_statistics([np.zeros((9, 9))]), film_statistics([np.full((9, 9), 255)])).histogram == 1
    with pytest.raises(ScoreInputError, match="no film"):
        film_statistics([])


@pytest.mark.parametrize("slope", [0.0, -2.0, -3.0])
def test_the_spectrum_slope_of_a_texture_is_the_one_it_was_made_with(slope):
    rng = np.random.default_rng(1)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    frequency[0, 0] = 1
    textures = [
        np.fft.ifft2(np.fft.fft2(rng.normal(size=(256, 256))) * frequency ** (slope / 2)).real for _ in range(4)
    ]
    assert np.mean([spectrum_slope(texture) for texture in textures]) == pytest.approx(slope, abs=0.12)


def test_a_blank_or_tiny_film_has_no_slope():
    assert np.isnan(spectrum_slope(np.full((64, 64), 7.0)))
    assert np.isnan(spectrum_slope(np.random.default_rng(0).normal(size=(16, 16))))
    target = film_statistics([np.full((64, 64), 7.0)])
    assert np.isnan(visual_distance(target, target).slope)


def test_semantic_similarity_is_over_what_both_cards_know():
    target = SourceCard(modality="X-ray", anatomy="chest", view="PA, AP", classes=("NORMAL", "PNEUMONIA"))
    source = SourceCard(modality="x ray", anatomy="abdomen, chest", classes=("Pneumonia", "Edema", "Mass"))
    found = semantic_similarity(target, source)
    assert found.value == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert (found.fields, found.unknown) == (("modality", "anatomy", "classes"), ("view",))
    nothing = semantic_similarity(target, SourceCard())
    assert (len(nothing.fields), len(nothing.unknown), np.isnan(nothing.value)) == (0, 4, True)
