"""Batches: three equal channels, order and augmentation as pure functions of their seeds, one shape when padded."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from cxrkeras.data.films import FilmStore
from cxrkeras.data.pipeline import augmentation_transforms, film_batches
from cxrkeras.errors import FilmError, UsageError

N = 10
LABELS = np.arange(N) % 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Ten random films of 24 × 20 pixels."""
    folder = tmp_path_factory.mktemp("films")
    pixels = np.random.default_rng(0).integers(0, 256, (N, 24, 20), dtype=np.uint8)
    for i, film in enumerate(pixels):
        Image.fromarray(film).save(folder / f"{i}.png")
    return FilmStore([folder / f"{i}.png" for i in range(N)], (24, 20))


def batches(store, **options):
    options = {"batch_size": 4} | options
    return [tuple(part.numpy() for part in batch) for batch in film_batches(store, np.arange(N), LABELS, **options)]


def test_batches_hold_the_films_three_times_and_their_labels(store):
    dataset = film_batches(store, [7, 2, 5], [1, 0, 2], batch_size=2)
    assert len(dataset) == 2
    (films, labels, index), (rest, last, place) = (tuple(part.numpy() for part in batch) for batch in dataset)
    assert films.shape == (2, 24, 20, 3)
    assert (films.dtype, labels.dtype, index.dtype) == (np.float32, np.int32, np.int32)
    for channel in range(3):
        np.testing.assert_array_equal(films[..., channel], store.get([7, 2]))
        np.testing.assert_array_equal(rest[..., channel], store.get([5]))
    assert labels.tolist() + last.tolist() == [1, 0, 2]
    assert index.tolist() + place.tolist() == [7, 2, 5]


def test_the_order_is_numpys_permutation_of_the_seed(store):
    index = np.concatenate([batch[2] for batch in batches(store, shuffle_seed=(3, 7))])
    np.testing.assert_array_equal(index, np.random.default_rng((3, 7)).permutation(N))
    labels = np.concatenate([batch[1] for batch in batches(store, shuffle_seed=(3, 7))])
    np.testing.assert_array_equal(labels, LABELS[index])
    again = np.concatenate([batch[2] for batch in batches(store, shuffle_seed=(3, 8))])
    assert again.tolist() != index.tolist()


@pytest.mark.parametrize("batch_size", [4, 5, 16])
def test_padding_repeats_the_last_film_under_index_minus_one(store, batch_size):
    dataset = film_batches(store, np.arange(N), LABELS, batch_size=batch_size, pad_last=True)
    assert dataset.element_spec[0].shape == (batch_size, 24, 20, 3)
    padded = [tuple(part.numpy() for part in batch) for batch in dataset]
    index = np.concatenate([batch[2] for batch in padded])
    assert {batch[0].shape[0] for batch in padded} == {batch_size}
    assert index[:N].tolist() == list(range(N))
    assert set(index[N:]) <= {-1}
    films = np.concatenate([batch[0] for batch in padded])
    labels = np.concatenate([batch[1] for batch in padded])
    np.testing.assert_array_equal(films[:N, ..., 0], store.get(np.arange(N)))
    np.testing.assert_array_equal(films[N:], np.repeat(films[N - 1 : N], len(films) - N, axis=0))
    assert set(labels[N:]) <= {LABELS[-1]}


def test_an_epoch_is_bit_identical_when_it_is_made_again(store):
    seeds = {"shuffle_seed": (0, 5), "augment_seed": (0, 5)}
    batches(store, shuffle_seed=(0, 4), augment_seed=(0, 4))
    first, second = batches(store, **seeds), batches(store, **seeds)
    dataset = film_batches(store, np.arange(N), LABELS, batch_size=4, **seeds)
    next(iter(dataset))
    third = [tuple(part.numpy() for part in batch) for batch in dataset]
    for one, two, three in zip(first, second, third, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    other = batches(store, shuffle_seed=(0, 5), augment_seed=(0, 6))
    assert all((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_augmentation_resamples_each_film_once_as_its_transform_says(store):
    transforms = augmentation_transforms(N, store.size, (1, 2))
    films = np.concatenate([batch[0] for batch in batches(store, augment_seed=(1, 2))])
    y, x = np.mgrid[:24, :20]
    for film, transform, original in zip(films, transforms.astype(float), store.get(np.arange(N)), strict=True):
        a0, a1, a2, a3, a4, a5, c0, c1 = transform
        assert (c0, c1) == (0, 0)
        where = [a3 * x + a4 * y + a5, a0 * x + a1 * y + a2]
        expected = map_coordinates(original, where, order=1, mode="grid-constant", cval=0)
        np.testing.assert_allclose(film[..., 0], expected, atol=0.02)
        np.testing.assert_array_equal(film[..., 0], film[..., 2])


def test_transforms_stay_in_range_and_never_mirror():
    height, width = 200, 100
    transforms = augmentation_transforms(5000, (height, width), 0).astype(float)
    linear = transforms[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    determinant = np.linalg.det(linear)
    zoom = 1 / np.sqrt(determinant)
    angle = np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = np.linalg.solve(linear, (centre - transforms[:, [2, 5]])[..., None])[..., 0] - centre
    assert (determinant > 0).all()
    for values, limit, middle in [
        (zoom, 0.1, 1),
        (angle, 7, 0),
        (moved[:, 0], 0.05 * width, 0),
        (moved[:, 1], 0.05 * height, 0),
    ]:
        assert np.abs(values - middle).max() <= limit * 1.0001
        assert np.abs(values - middle).max() >= limit * 0.99
        assert abs(np.mean(values) - middle) <= limit * 0.03
    np.testing.assert_allclose(linear[:, 0, 0], linear[:, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(linear[:, 0, 1], -linear[:, 1, 0], rtol=1e-6)


def test_a_marker_on_the_left_stays_on_the_left(tmp_path):
    film = np.zeros((64, 64), np.uint8)
    film[8:20, 6:18] = 255
    Image.fromarray(film).save(tmp_path / "r.png")
    store = FilmStore([tmp_path / "r.png"], (64, 64))
    for films, _, _ in film_batches(store, np.zeros(200, int), np.zeros(200, int), batch_size=50, augment_seed=0):
        mass = films.numpy()[..., 0].sum(axis=1)
        assert (mass[:, :32].sum(axis=1) > 100 * mass[:, 32:].sum(axis=1)).all()


def test_order_and_augmentation_do_not_share_a_stream():
    shuffled = np.random.default_rng((0, 1)).uniform(-1, 1, size=(N, 4))
    zoom = 1 / np.hypot(*augmentation_transforms(N, (8, 8), (0, 1)).astype(float)[:, [0, 3]].T)
    assert not np.allclose(zoom, 1 + 0.1 * shuffled[:, 3], atol=1e-4)


@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_broken_film_fails_by_name_before_the_first_batch(tmp_path, budget):
    (tmp_path / "bad.png").write_text("no film")
    with pytest.raises(FilmError, match=r"bad\.png"):
        film_batches(FilmStore([tmp_path / "bad.png"], (8, 8), memory_budget=budget), [0], [0], batch_size=1)


def test_a_store_without_memory_gives_the_same_batches(store):
    bare = FilmStore(store.files, store.size, memory_budget=0)
    for one, two in zip(batches(store, augment_seed=1), batches(bare, augment_seed=1), strict=True):
        np.testing.assert_array_equal(one[0], two[0])


def test_labels_and_batch_size_are_checked(store):
    with pytest.raises(UsageError, match="2 films and 1 labels"):
        film_batches(store, [0, 1], [0], batch_size=2)
    with pytest.raises(UsageError, match="batch size 0"):
        film_batches(store, [0], [0], batch_size=0)
