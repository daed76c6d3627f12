"""The checks of a run: made once a method and checkpoint, without a new trace, and its weights are as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import DataError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.faithfulness.baselines import baseline_films
from cxrkeras.faithfulness.perturbation import pixel_ranks
from cxrkeras.tables import read_scores, write_csv
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.validity import drawn_evenly, recommended_epochs, validity

CHEAP = ["gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++"]


@pytest.fixture
def opened(run_copy):
    return OpenRun(run_copy)


def evidence(selection, methods, **options):
    shared = MapOptions(**options)
    return {name: Evidence(selection, shared) for name in methods}


def test_one_trace_serves_every_stage_and_the_weights_come_back(opened):
    selection = select(opened)
    assert opened.classifier
    # an earlier test may have used this net; here every trace counts
    opened._explainers = {}
    before = ensure(opened, 4, selection, CHEAP, MapOptions())
    weights = [weight.copy() for weight in opened.classifier.model.get_weights()]
    result = validity(opened, 4, evidence(selection, CHEAP), films=12, steps=2, draws=2)
    for now, value in zip(opened.classifier.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, value)
    explainers = [one for one in opened._explainers.values() if hasattr(one, "traces")]
    assert [one.traces for one in explainers] == [1]
    (predict,) = [one for one in opened._explainers.values() if not hasattr(one, "traces")]
    assert predict.experimental_get_tracing_count() == 1
    again = ensure(opened, 4, selection, CHEAP, MapOptions())
    for name in CHEAP:
        np.testing.assert_array_equal(again[name].values, before[name].values)

    table = result.randomisation
    stages = ["head", "8×8", "16×16", "everything"]
    assert table[["method", "stage"]].values.tolist() == [[name, stage] for name in CHEAP for stage in stages]
    assert table["layers"].tolist() == [1, 9, 13, 17] * 5
    assert (table["n_films"] == 12).all()
    assert (table["n_compared"] + table["n_degenerate"] == 24).all()
    rows = table.set_index(["method", "stage"])
    assert rows.loc[("eigencam", "head"), "verdict"] == "unchanged", "it does not read the head"
    assert rows.loc[("eigencam", "head"), "correlation"] == pytest.approx(1, abs=1e-5)
    compared = rows.xs("everything", level="stage")
    assert set(compared.loc[compared["n_compared"] >= 10, "verdict"]) == {"changes"}
    assert {"eigencam", "layercam", "gradcam++"} <= set(compared.index[compared["verdict"] == "changes"])

    for name in ("randomisation", "perturbation"):
        stored = read_scores(opened.run.validity_path(4, "test", name))
        made = getattr(result, name)
        assert list(stored.columns) == list(made.columns)
        np.testing.assert_allclose(
            stored.iloc[:, 3].astype(float), made.iloc[:, 3].astype(float), err_msg="what is stored is what is returned"
        )


def test_curves_are_those_of_a_plain_loop_over_the_model(opened):
    selection = select(opened, limit=6)
    result = validity(
        opened, 4, evidence(selection, ["layercam"]), films=6, steps=4, checks=["deletion", "insertion"], draws=1
    )
    assert result.randomisation.empty
    assert not opened.run.validity_path(4, "test", "randomisation").exists()
    rows = drawn_evenly(selection.films.labels, 6, opened.config.training.seed)
    chosen = selection.take(rows)
    assert np.bincount(chosen.films.labels).tolist() == [3, 3]
    maps = ensure(opened, 4, chosen, ["layercam"], MapOptions())["layercam"]
    opened.load(4)
    films = np.repeat(chosen.films.store.get(chosen.films.indices)[..., None], 3, axis=3)
    blurred = baseline_films(films)
    expected = {"insertion": [], "deletion": []}
    for i, label in enumerate(chosen.films.labels):
        ranks = pixel_ranks(maps.values[i : i + 1], (64, 64), [i], opened.config.training.seed)[0]
        for metric, start, end in (("insertion", blurred, films), ("deletion", films, blurred)):
            steps = []
            for k in range(5):
                image = start[i].copy()
                image[ranks < k * 1024] = end[i][ranks < k * 1024]
                steps.append(image)
            p = opened.classifier.model.predict_on_batch(np.stack(steps))[:, label]
            expected[metric].append((p[0] / 2 + p[1] + p[2] + p[3] + p[4] / 2) / 4)
    table = result.perturbation.set_index("metric")
    for metric, aucs in expected.items():
        assert table.loc[metric, "auc"] == pytest.approx(np.mean(aucs), abs=1e-5)
    assert table["baseline"].tolist() == ["blur", "blur"]
    assert table["target"].tolist() == ["label", "label"]
    assert set(table["n_films"]) == {6}
    assert table.loc["insertion", "probability_film"] == pytest.approx(
        opened.classifier.model.predict_on_batch(films)[np.arange(6), chosen.films.labels].mean(), abs=1e-5
    )


def test_a_method_may_have_its_own_films_and_repeating_replaces_its_rows(opened):
    whole, few = select(opened), select(opened, limit=1)
    mixed = evidence(whole, ["gradcam", "eigencam"]) | evidence(few, ["scorecam"], given={"max_channels": 4})
    told = []

    class Told(Reporter):
        def notice(self, text):
            told.append(text)

    validity(opened, 3, mixed, films=4, steps=2, draws=1, checks=["randomisation", "deletion"], reporter=Told())
    # four films: two ends, one inner step for two methods and one random map; two films: of one method
    assert "deletion: 4 films, about 20 forwards." in told
    assert "deletion: 2 films, about 8 forwards." in told
    assert any("scorecam explains 2 films anew for 4 stages of 1 random networks" in text for text in told)
    stored = read_scores(opened.run.validity_path(3, "test", "randomisation"))
    assert stored.groupby("method")["n_films"].first().to_dict() == {"gradcam": 4, "eigencam": 4, "scorecam": 2}
    assert (stored["n_compared"] + stored["n_degenerate"] == stored["n_films"]).all()
    assert set(stored["verdict"]) == {"undefined"}, "too few films for a verdict"

    validity(opened, 3, evidence(whole, ["gradcam"]), films=2, steps=2, draws=1, checks=["randomisation"])
    again = read_scores(opened.run.validity_path(3, "test", "randomisation"))
    assert again.groupby("method")["n_films"].first().to_dict() == {"gradcam": 2, "eigencam": 4, "scorecam": 2}
    assert len(again) == len(stored)
    kept = read_scores(opened.run.validity_path(3, "test", "perturbation"))
    assert kept[["method", "metric"]].values.tolist() == [[m, "deletion"] for m in ("gradcam", "eigencam", "scorecam")]
    assert set(kept["status"]) == {"too_few_patients"}
    assert kept["ci_low"].isna().all()
    assert kept["maps_key"].nunique() == 3


def test_films_are_drawn_evenly_over_the_classes():
    labels = np.array([0] * 30 + [1] * 5 + [2] * 2)
    for n, counts in ((6, [2, 2, 2]), (9, [4, 3, 2]), (20, [13, 5, 2]), (100, [30, 5, 2])):
        rows = drawn_evenly(labels, n, seed=1)
        assert (np.diff(rows) > 0).all()
        found = np.bincount(labels[rows], minlength=3)
        if n == 9:
            assert sorted(found.tolist()) == [2, 3, 4]
        else:
            assert found.tolist() == counts
    assert set(drawn_evenly(labels, 5, 1)) < set(drawn_evenly(labels, 12, 1))
    assert drawn_evenly(labels, 6, 1).tolist() != drawn_evenly(labels, 6, 2).tolist()


def test_each_method_at_its_recommended_checkpoint(opened):
    run, told = opened.run, []

    class Told(Reporter):
        def notice(self, text):
            told.append(text)

    with pytest.raises(DataError, match=r"no recommendation for split 'test'.*score --run copy --epoch all"):
        recommended_epochs(run, "test", ["gradcam"])
    rows = [("gradcam", 3, "recommended", ""), ("eigencam", 4, "recommended", ""), ("layercam", None, "none", "a gap")]
    table = pd.DataFrame(rows, columns=["method", "checkpoint", "status", "reason"])
    write_csv(run.analysis_path("test", "recommendation"), table)
    found = recommended_epochs(run, "test", ["gradcam", "layercam", "eigencam", "scorecam"], Told())
    assert found == {3: ["gradcam"], 4: ["eigencam"]}
    assert told == [
        "layercam is left out: no checkpoint is recommended (a gap).",
        "scorecam is left out: it is not in the analysis of split 'test'.",
    ]
    with pytest.raises(DataError, match="no recommended checkpoint for layercam"):
        recommended_epochs(run, "test", ["layercam"])


def test_names_and_numbers_that_make_no_sense_are_usage(opened):
    one = evidence(select(opened, limit=1), ["gradcam"])
    for wrong, message in (
        ({"checks": ["insert"]}, "unknown check 'insert'.*Did you mean 'insertion'"),
        ({"baseline": "black"}, "unknown baseline 'black'"),
        ({"films": 0}, "a film and a draw or more"),
    ):
        with pytest.raises(UsageError, match=message):
            validity(opened, 4, one, **wrong)
