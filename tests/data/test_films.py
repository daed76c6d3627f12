"""The film store: right films in the asked order, decoded once where they fit, broken ones by name."""

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data import films as films_module
from cxrkeras.data.films import FilmStore
from cxrkeras.data.images import decode_film
from cxrkeras.errors import FilmError, UsageError


@pytest.fixture
def files(tmp_path):
    """Six films; film `i` is grey level 10·i everywhere."""
    for i in range(6):
        Image.fromarray(np.full((8, 6), 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
    return [tmp_path / f"{i}.png" for i in range(6)]


@pytest.fixture
def decoded(monkeypatch):
    """Files in the order in which they are decoded."""
    seen = []

    def recorded(path, *options):
        seen.append(path.name)
        return decode_film(path, *options)

    monkeypatch.setattr(films_module, "decode_film", recorded)
    return seen


@pytest.mark.parametrize("budget", [0, 2**30])
def test_films_come_in_the_asked_order_with_repeats(files, budget):
    store = FilmStore(files, (4, 5), memory_budget=budget)
    batch = store.get([3, 0, 3, 5])
    assert batch.shape == (4, 4, 5)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.array([30, 0, 30, 50])[:, None, None] * np.ones((4, 4, 5)), rtol=1e-6)
    assert store.get([]).shape == (0, 4, 5)


def test_films_that_fit_are_decoded_once_and_only_on_demand(files, decoded):
    store = FilmStore(files, (4, 5), memory_budget=6 * 4 * 5 * 4)
    assert store.keeps
    assert decoded == []
    store.get([1, 1, 2])
    store.get([2, 1, 4])
    assert sorted(decoded) == ["1.png", "2.png", "4.png"]


def test_films_that_do_not_fit_are_decoded_each_time(files, decoded):
    store = FilmStore(files, (4, 5), memory_budget=6 * 4 * 5 * 4 - 1)
    assert not store.keeps
    store.get([1, 1])
    store.get([1])
    assert decoded == ["1.png", "1.png"]
    store.preload([1, 2])
    store.preload([2, 1])
    assert decoded[2:] == ["2.png"]


def test_batches_do_not_share_memory_with_the_store(files):
    store = FilmStore(files, (4, 5))
    store.get([2])[:] = 99
    np.testing.assert_allclose(store.get([2]), 20, rtol=1e-6)


@pytest.mark.parametrize("budget", [0, 2**30])
def test_broken_films_are_named(files, budget):
    files[4].write_bytes(files[4].read_bytes()[:40])
    store = FilmStore(files, (4, 5), memory_budget=budget)
    store.preload([0, 1, 2])
    with pytest.raises(FilmError, match=r"4\.png"):
        store.preload(range(6))
    with pytest.raises(FilmError, match=r"4\.png"):
        store.get([0, 4])
    np.testing.assert_allclose(store.get([5]), 50, rtol=1e-6)


def test_options_reach_the_decoder(tmp_path):
    Image.fromarray(np.full((4, 8), 4095, np.uint16)).save(tmp_path / "a.png")
    store = FilmStore([str(tmp_path / "a.png")], (8, 8), resize="pad", bits=12)
    film = store.get([0])[0]
    np.testing.assert_allclose(film[2:6], 255, rtol=1e-6)
    np.testing.assert_array_equal(film[[0, 1, 6, 7]], 0)
    assert (store.resize, store.bits, store.size, len(store)) == ("pad", 12, (8, 8), 1)


def test_wrong_numbers_and_options_are_refused(files):
    store = FilmStore(files, (4, 5))
    with pytest.raises(UsageError, match=r"0\.\.5\. Received -1\.\.2"):
        store.get([2, -1])
    with pytest.raises(UsageError, match="two positive counts"):
        FilmStore(files, (0, 5))
    with pytest.raises(UsageError, match="Did you mean 'pad'"):
        FilmStore(files, (4, 5), resize="padd")
