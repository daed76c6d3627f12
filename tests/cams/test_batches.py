"""Films as arrays, streams and callables: regrouped, padded, never held all at once."""

import numpy as np
import pytest

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.cams.batches import FilmBatch, film_batch, regrouped
from cxrkeras.errors import DataError, TargetError


def numbered(count, start=0):
    values = np.arange(start, start + count)
    return film_batch(np.ones((count, 2, 2, 1)) * values[:, None, None, None], values)


@pytest.mark.parametrize(("sizes", "expected"), [([1] * 5, [2, 2, 1]), ([7], [2, 2, 2, 1]), ([3, 1], [2, 2]), ([], [])])
def test_batches_are_regrouped_in_order(sizes, expected):
    starts = np.cumsum([0, *sizes])
    batches = list(regrouped([numbered(n, s) for n, s in zip(sizes, starts, strict=False)], 2))
    assert [len(batch) for batch in batches] == expected
    assert [t for batch in batches for t in batch.targets] == list(range(sum(sizes)))
    assert all((batch.films[:, 0, 0, 0] == batch.targets).all() for batch in batches)


def test_a_stream_is_read_as_it_is_needed():
    read = []

    def source():
        for i in range(4):
            read.append(i)
            yield numbered(2, 2 * i)

    stream = regrouped(source(), 2)
    next(stream)
    assert read == [0]


def test_films_without_ids_are_named_by_their_pixels():
    batch = numbered(3)
    again = FilmBatch((batch.films[::-1],), batch.targets[::-1], None)
    assert batch.film_ids() == again.film_ids()[::-1]
    assert len(set(batch.film_ids())) == 3
    assert film_batch(batch.films, batch.targets, ["a", "b", "c"]).part(1, 3).film_ids() == ("b", "c")


def test_ids_have_to_fit():
    with pytest.raises(DataError, match="expected 3 film ids"):
        film_batch(np.zeros((3, 2, 2, 1)), [0, 0, 0], ["a"])


@pytest.fixture(scope="module")
def of_an_array(flat, films, targets):
    """Films of whole grey values, explained in one batch."""
    return explain_all(flat, np.round(films), targets, methods="gradcam,eigencam")


@pytest.mark.parametrize("form", ["array", "batches", "callable", "uint8"])
def test_every_form_of_films_gives_the_same(flat, films, targets, of_an_array, form):
    films = np.round(films)
    forms = {
        "array": films,
        "batches": iter([films[:1], films[1:4], films[4:]]),
        "callable": lambda: (films[i : i + 2] for i in range(0, 5, 2)),
        "uint8": films.astype(np.uint8),
    }
    expected = of_an_array
    actual = explain_all(flat, forms[form], targets, methods="gradcam,eigencam", batch_size=2)
    for method in ("gradcam", "eigencam"):
        np.testing.assert_allclose(actual[method].values, expected[method].values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual.probabilities, expected.probabilities, atol=1e-6)


def test_streams_check_their_targets(flat, films):
    with pytest.raises(TargetError, match="expected 5 targets, one per image; received 7"):
        explain_all(flat, iter([films]), [0] * 7, methods="gradcam")
    with pytest.raises(TargetError, match="one per image; received 1"):
        explain_all(flat, iter([films]), [0], methods="gradcam")


def test_repeated_calls_do_not_retrace(flat, films, targets):
    explainer = Explainer(flat, "gradcam,eigencam", batch_size=2)
    for count in (1, 2, 5):
        explainer.explain(films[:count], targets[:count])
    stream = explainer.explain_batches([(films, targets), (films[:2], targets[:2], ["a", "b"])])
    assert [len(part) for part in stream] == [2, 2, 2, 1]
    assert explainer.traces == 1


def test_progress_ends_at_its_total(flat, films, targets):
    seen = []
    explain_all(flat, films, targets, methods="scorecam", batch_size=2, progress=lambda *pair: seen.append(pair))
    done, totals = np.array(seen).T
    assert (np.diff(done) > 0).all()
    assert (np.diff(totals) <= 0).all()
    assert done[-1] == totals[-1]


def test_other_weights_are_explained_without_a_new_trace(with_head, films, targets):
    model = with_head(3, "softmax")
    explainer = Explainer(model, "gradcam,scorecam", batch_size=5)
    before = explainer.explain(films, targets)
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([-2 * kernel, bias])
    after = explainer.explain(films, targets)
    fresh = explain_all(model, films, targets, methods="gradcam,scorecam")
    for method in ("gradcam", "scorecam"):
        np.testing.assert_allclose(after[method].values, fresh[method].values, rtol=1e-5, atol=1e-6)
        assert np.abs(after[method].values - before[method].values).max() > 0.01
    assert explainer.traces == 1
