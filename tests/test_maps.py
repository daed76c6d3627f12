"""Map operations against TensorFlow, closed forms and round trips."""

import json
import os

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.maps import Maps, concatenate, concentration, degenerate, min_max, resize


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def some_maps(rng):
    return Maps(
        values=rng.random((4, 3, 5)).astype(np.float32),
        images=np.array(["a/1.png", "a/2.png", "b/3.png", "b/ü.png"]),
        targets=np.array([0, 0, 1, 1]),
        layer="relu",
        method="scorecam",
        classes=("NORMAL", "PNEUMONIA"),
        status=np.array(["ok", "degenerate", "ok", "uninformative"]),
        probabilities=rng.random((4, 2)).astype(np.float32),
        parameters={"weighting": "probability", "max_channels": None, "mask_value": 0.5},
        extras={"channels_used": np.array([3, 4, 5, 6]), "levels_used": np.array(["8,16", "8", "8,32", "16"])},
    )


def same(a, b):
    arrays_a, arrays_b = a.to_arrays(), b.to_arrays()
    assert arrays_a.keys() == arrays_b.keys()
    for name in arrays_a:
        np.testing.assert_array_equal(arrays_a[name], arrays_b[name], err_msg=name)


def test_min_max_reaches_both_ends_and_keeps_proportions():
    values = np.array([[[-2.0, 0.0], [1.0, 2.0]], [[5e-9, 6e-9], [7e-9, 9e-9]]], dtype=np.float32)
    expected = [[[0, 0.5], [0.75, 1]], [[0, 0.25], [0.5, 1]]]
    result = min_max(values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.max(axis=(1, 2)).tolist() == [1, 1]


def test_min_max_survives_the_whole_range_of_single_precision():
    values = np.array([[[-3e38, 0.0], [0.0, 3e38]]], dtype=np.float32)
    np.testing.assert_allclose(min_max(values), [[[0, 0.5], [0.5, 1]]], atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_and_constant_maps_are_degenerate_and_blank(bad):
    values = np.ones((4, 3, 3))
    values[0] = np.arange(9).reshape(3, 3)
    values[1, 1, 1] = bad
    values[3] = 0
    assert degenerate(values).tolist() == [False, True, True, True]
    assert min_max(values)[1:].tolist() == np.zeros((3, 3, 3)).tolist()
    assert degenerate(np.full((1, 2, 2), bad)).tolist() == [True]


def test_contrast_is_judged_against_the_largest_magnitude():
    values = np.zeros((3, 1, 2))
    values[:, 0] = [[1.0, 1 + 0.9e-6], [1.0, 1 + 1.1e-6], [-1e-30, 1e-30]]
    assert degenerate(values).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "sizes", [((7, 7), (56, 56)), ((14, 9), (5, 20)), ((28, 28), (7, 7)), ((1, 1), (4, 4)), ((5, 5), (5, 5))]
)
def test_resize_is_tensorflows_bilinear_resize(rng, sizes):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tf = pytest.importorskip("tensorflow")
    old, new = sizes
    values = rng.normal(size=(3, *old)).astype(np.float32)
    expected = tf.image.resize(values[..., None], new, method="bilinear", antialias=False)[..., 0].numpy()
    result = resize(values, new)
    assert result.dtype == np.float32
    # TensorFlow rounds the sampling positions to single precision; ours are exact.
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_resize_takes_one_side_and_keeps_constants(rng):
    values = rng.random((2, 7, 7))
    np.testing.assert_array_equal(resize(values, 56), resize(values, (56, 56)))
    np.testing.assert_allclose(resize(np.full((1, 7, 7), 3.0), 20), np.full((1, 20, 20), 3.0), rtol=1e-6)


def test_resize_doubles_one_row_by_hand():
    values = np.array([[[0.0, 1.0]]])
    np.testing.assert_allclose(resize(values, (1, 4))[0, 0], [0, 0.25, 0.75, 1])


@pytest.mark.parametrize("inner", [(0, 0, 12, 20), (3, 5, 9, 17), (2, 0, 10, 20), (11, 19, 12, 20)], ids=str)
def test_a_region_is_a_crop_of_the_whole_resized_map(rng, inner):
    values = rng.normal(size=(2, 5, 7)).astype(np.float32)
    top, left, bottom, right = inner
    region = (top / 12, left / 20, bottom / 12, right / 20)
    cropped = resize(values, (12, 20))[:, top:bottom, left:right]
    np.testing.assert_allclose(resize(values, (bottom - top, right - left), region), cropped, atol=1e-6)


def test_a_region_of_half_a_row_by_hand():
    values = np.array([[[0.0, 1.0]]])
    np.testing.assert_allclose(resize(values, (1, 2), (0, 0.5, 1, 1))[0, 0], [0.75, 1])
    np.testing.assert_allclose(resize(values, (1, 4), (0, 0.25, 1, 0.75))[0, 0], [0.125, 0.375, 0.625, 0.875])


def test_the_whole_as_a_region_changes_no_bit(rng):
    values = rng.normal(size=(2, 7, 7)).astype(np.float32)
    np.testing.assert_array_equal(resize(values, (33, 50), (0, 0, 1, 1)), resize(values, (33, 50)))


@pytest.mark.parametrize(
    "region", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.4), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, np.nan, 1)]
)
def test_a_region_without_area_or_outside_the_map_is_refused(region):
    with pytest.raises(ScoreInputError, match=r"0 <= top < bottom <= 1.*Received \("):
        resize(np.ones((1, 4, 4)), 8, region)


def test_concentration_closed_forms():
    values = np.zeros((6, 4, 4))
    values[0] = 2.5
    values[1, 2, 3] = 1e-30
    values[2, 0, :2] = 7
    values[4, 0, 0] = np.nan
    values[5] = -1
    values[5, 0, :2] = 7
    np.testing.assert_allclose(concentration(values), [0, 1, 0.75, np.nan, np.nan, 0.75], atol=1e-12)


def test_subset_by_rows_mask_and_film_ids(some_maps):
    by_rows = some_maps.subset([3, 0])
    same(by_rows, some_maps.subset(["b/ü.png", "a/1.png"]))
    same(some_maps.subset([0, 3]), some_maps.subset(np.array([True, False, False, True])))
    assert by_rows.images.tolist() == ["b/ü.png", "a/1.png"]
    assert by_rows.extras["channels_used"].tolist() == [6, 3]
    np.testing.assert_array_equal(by_rows.values, some_maps.values[[3, 0]])
    assert len(some_maps.subset([])) == 0


def test_subset_takes_every_map_of_a_film(some_maps):
    twice = concatenate([some_maps, some_maps])
    assert len(twice.subset(["a/2.png"])) == 2


def test_subset_names_what_is_missing(some_maps):
    with pytest.raises(ScoreInputError, match=r"1 of 1 film ids.*Did you mean 'b/3.png'"):
        some_maps.subset(["b3.png"])
    with pytest.raises(ScoreInputError, match=r"0\.\.3.*4\.\.4"):
        some_maps.subset([4])
    with pytest.raises(ScoreInputError, match="expected 4, received 3"):
        some_maps.subset(np.array([True, False, True]))


def test_arrays_round_trip_through_a_file_without_pickle(some_maps, tmp_path):
    np.savez(tmp_path / "maps.npz", **some_maps.to_arrays(), allow_pickle=False)
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as stored:
        loaded = Maps.from_arrays(stored)
    same(loaded, some_maps)
    assert loaded.classes == some_maps.classes
    assert loaded.parameters == some_maps.parameters
    assert (loaded.layer, loaded.method, loaded.grid) == ("relu", "scorecam", (3, 5))
    assert json.loads(str(some_maps.to_arrays()["classes"])) == ["NORMAL", "PNEUMONIA"]


def test_object_text_is_stored_as_text_and_other_objects_are_refused(some_maps):
    some_maps.extras["note"] = np.array(["x", "yy", "z", ""], dtype=object)
    assert some_maps.to_arrays()["extras.note"].dtype.kind == "U"
    some_maps.extras["note"] = np.array([[1], None, 2, 3], dtype=object)
    with pytest.raises(ScoreInputError, match="'note' cannot be stored"):
        some_maps.to_arrays()


def test_from_arrays_refuses_what_is_not_a_map_file(some_maps):
    arrays = some_maps.to_arrays()
    with pytest.raises(ScoreInputError, match="Missing: status"):
        Maps.from_arrays({k: v for k, v in arrays.items() if k != "status"})
    with pytest.raises(ScoreInputError, match="one row per map"):
        Maps.from_arrays(arrays | {"targets": np.array([0])})


def test_concatenate_joins_parts_and_refuses_strangers(some_maps):
    same(concatenate([some_maps.subset([0, 1]), some_maps.subset([2, 3])]), some_maps)
    arrays = some_maps.to_arrays()
    for name, value in (("method", "gradcam"), ("layer", "pool"), ("parameters", {}), ("classes", ["A", "B"])):
        other = Maps.from_arrays(arrays | {name: np.array(json.dumps(value))})
        with pytest.raises(ScoreInputError, match=f"{name} differs"):
            concatenate([some_maps, other])
    with pytest.raises(ScoreInputError, match="grid differs"):
        concatenate([some_maps, Maps.from_arrays(arrays | {"values": np.zeros((4, 5, 3))})])
    with pytest.raises(ScoreInputError, match="different extras"):
        concatenate([some_maps, Maps.from_arrays(arrays | {"extras.more": np.zeros(4)})])
    with pytest.raises(ScoreInputError, match="no maps to join"):
        concatenate([])


def test_no_maps_at_all():
    nothing = np.zeros((0, 7, 5), dtype=np.float32)
    assert degenerate(nothing).shape == concentration(nothing).shape == (0,)
    assert min_max(nothing).shape == (0, 7, 5)
    assert resize(nothing, 9).shape == (0, 9, 9)
