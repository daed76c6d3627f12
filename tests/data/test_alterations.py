"""Alterations in the film store: where they act, that nothing else differs, and both versions over one store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet, file_hashes, film_versions
from cxrkeras.data.images import decode_film, resize_film
from cxrkeras.errors import UsageError


@dataclass(frozen=True)
class Corner:
    """Sets the upper left quarter to a grey level that the name decides, and notes what it was given."""

    at: tuple[int, int] | None = None
    level: float = 250.0
    key: str = "corner"

    def __call__(self, film, name):
        altered = film.copy()
        altered[: film.shape[0] // 2, : film.shape[1] // 2] = self.level + len(name)
        return altered


@pytest.fixture
def files(tmp_path):
    """Five films of 40×24 with noise, and their names."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(5):
        Image.fromarray(rng.integers(0, 200, (40, 24), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        made.append(tmp_path / f"{i}.png")
    return made


@pytest.fixture
def films(files):
    """The films as a set whose rows are not the store's order."""
    rows = np.array([3, 0, 4])
    return FilmSet(
        store=FilmStore(files, (20, 12)),
        indices=rows,
        labels=np.array([1, 0, 1]),
        ids=np.array([f"{row}.png" for row in rows]),
        hashes=np.array([hashlib.sha256(files[row].read_bytes()).hexdigest() for row in rows]),
        truth=np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 1.0]]),
    )


@pytest.mark.parametrize("budget", [0, 2**30])
@pytest.mark.parametrize("at", [None, (16, 16), (80, 80)])
@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_a_film_is_altered_between_its_decoding_and_the_last_resize(files, budget, at, resize):
    done = [None, Corner(at), None, Corner(at), None]
    store = FilmStore(files, (20, 12), resize=resize, memory_budget=budget, alterations=done, names=["ab"] * 5)
    plain = FilmStore(files, (20, 12), resize=resize)
    films = store.get([4, 3, 1, 3, 0])
    np.testing.assert_array_equal(films[[0, 4]], plain.get([4, 0]))
    for place, row in ((1, 3), (2, 1), (3, 3)):
        by_hand = Corner(at)(decode_film(files[row], at, resize), "ab")
        np.testing.assert_array_equal(films[place], resize_film(by_hand, (20, 12), resize))
        assert films[place].max() == pytest.approx(252, abs=1e-3)
    assert store.alterations == tuple(done)


def test_stores_without_alterations_know_none(files):
    assert FilmStore(files, (4, 4)).alterations is None
    assert FilmStore(files, (4, 4), alterations=[None] * 5).alterations is None


def test_alterations_and_names_must_match_the_films(files):
    with pytest.raises(UsageError, match="5 films, 4 alterations and 5 names"):
        FilmStore(files, (4, 4), alterations=[Corner()] * 4, names=["a"] * 5)
    with pytest.raises(UsageError, match="5 films, 5 alterations and 0 names"):
        FilmStore(files, (4, 4), alterations=[Corner()] * 5)


def test_both_versions_stand_in_one_store(films):
    versions = film_versions(films, None, Corner())
    assert len(versions) == 6
    both = versions.store.get(versions.indices)
    clean = films.store.get(films.indices)
    np.testing.assert_array_equal(both[:3], clean)
    changed = both[3:] != clean
    assert changed[:, :10, :6].all()
    # the resize mixes pixels of the next two rows and columns at the most
    assert not changed[:, 12:].any()
    assert not changed[:, :, 8:].any()
    assert versions.ids.tolist() == ["3.png", "0.png", "4.png", "3.png#artefact", "0.png#artefact", "4.png#artefact"]
    assert versions.hashes.tolist() == [*films.hashes, *(f"{digest}+corner" for digest in films.hashes)]
    assert file_hashes(versions.hashes) == [*films.hashes] * 2
    np.testing.assert_array_equal(versions.labels, [1, 0, 1] * 2)
    np.testing.assert_array_equal(versions.truth, np.tile(films.truth, (2, 1)))


def test_a_choice_of_rows_is_who_carries_it_and_names_reach_the_alteration(films):
    versions = film_versions(films, Corner(level=0, key="base"), Corner(level=100))
    applied = np.array([False, True, False])
    arm = versions.take(np.where(applied, 3 + np.arange(3), np.arange(3)))
    # 64 is the length of a SHA-256 in hex
    np.testing.assert_array_equal(arm.store.get(arm.indices)[:, 0, 0], [64, 164, 64])
    assert [digest.partition("+")[2] for digest in arm.hashes] == ["base", "corner", "base"]


def test_options_of_the_store_are_kept(films, files):
    store = FilmStore(files, (20, 20), resize="pad", bits=12)
    padded = FilmSet(store, films.indices, films.labels, films.ids, films.hashes)
    versions = film_versions(padded, None, Corner())
    assert (versions.store.resize, versions.store.bits, versions.store.size) == ("pad", 12, (20, 20))
    assert versions.truth is None
    # the film's own 40×24, not its padding, is altered
    assert not versions.store.get([3])[0][:, :4].any()


def test_films_are_not_altered_twice(films):
    versions = film_versions(films, None, Corner())
    with pytest.raises(UsageError, match="carry an artefact already"):
        film_versions(versions, None, Corner())
    again = film_versions(versions.take(np.arange(3)), None, Corner())
    np.testing.assert_array_equal(again.store.get(range(6)), versions.store.get(range(6)))


def test_a_film_of_the_asked_size_is_returned_as_it_is():
    film = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert resize_film(film, (3, 4)) is film
    assert resize_film(film, (6, 4), "pad").shape == (6, 4)
