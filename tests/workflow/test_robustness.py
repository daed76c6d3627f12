"""`robustness` as work: what arms answer, how seeds split, what a directory keeps, goes on with and refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from cxrkeras.errors import ConfigError, DataError, RunError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.models.inference import forward
from cxrkeras.robustness import assign, parse_confounder
from cxrkeras.robustness.answers import split_logits
from cxrkeras.run import Run
from cxrkeras.study.results import Results
from cxrkeras.workflow.candidates import open_candidate
from cxrkeras.workflow.robustness import probe as probe_module
from cxrkeras.workflow.robustness import robustness as module
from cxrkeras.workflow.robustness.data import robustness_data
from cxrkeras.workflow.robustness.finetune import arm_training
from cxrkeras.workflow.robustness.kept import KeptArms
from cxrkeras.workflow.robustness.plan import arm_plan
from cxrkeras.workflow.robustness.printed import printed_comparisons, printed_reliance, spoken
from cxrkeras.workflow.robustness.probe import fitted_arms, probe_arms, touched_rows
from cxrkeras.workflow.robustness.robustness import robustness, settings_data
from cxrkeras.workflow.robustness.settings import robustness_settings, split_specs

TAG = "tag:height=.3"


class Heard(Reporter):
    """Keeps notices."""

    def __init__(self):
        self.told = []

    def notice(self, text):
        self.told.append(text)


@pytest.fixture(autouse=True, scope="module")
def drawn():
    """Pictures are not drawn, which costs more than all else here: what they would be drawn of, in order."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_robustness_figure", "save_shortcut_gallery"):
            patch.setattr(module, name, lambda *given, name=name, **_: asked.append((name, given)))
        yield asked


def settings_of(folder, **given):
    wanted = {"data": folder, "backbone": "compact", "image_size": 32, "sources": "random", "confounders": TAG}
    wanted |= {"ps": (0, 1), "seeds": 2, "methods": "none", "positive": "lobar"}
    return robustness_settings(**{**wanted, **given})


@pytest.fixture(scope="module")
def first(drawn, phantom_folder, tiny_run, tmp_path_factory):
    """A measurement of a run that was trained on the same films, with maps; do not change it."""
    heard = Heard()
    own = {"sources": f"own=run:{tiny_run.path}@best", "image_size": None, "backbone": None}
    settings = settings_of(phantom_folder, methods="layercam", seeds=1, **own)
    return settings, robustness(settings, tmp_path_factory.mktemp("robust") / "first", reporter=heard), heard


def test_a_probe_leans_on_a_tag_that_it_was_taught(first):
    settings, result, heard = first
    assert (settings.image_size, settings.candidates[0].backbone) == (64, "compact")
    table = result.tables["reliance"].query("mode == 'probe'").set_index("p")
    assert table.loc[0.0, ["reliance", "status"]].tolist() == [0.0, "baseline"]
    results = result.tables["results"].query("mode == 'probe'").set_index(["p", "split"])["auc"]
    # at p = 1 the artefact says it all in training, and the opposite where it is reversed
    assert results[1.0, "iid"] == results[1.0, "aligned"]
    assert results[1.0, "iid"] > 0.9
    assert results[1.0, "reversed"] < results[0.0, "reversed"] - 0.1
    # at p = 0 nobody carries it
    assert results[0.0, "iid"] == results[0.0, "clean"]
    losses = [results[p, "clean"] - results[p, "reversed"] for p in (0.0, 1.0)]
    assert table.loc[1.0, "reliance"] == pytest.approx(losses[1] - losses[0])
    assert table.loc[1.0, "damage"] == pytest.approx(losses[0])
    assert any("1 source × 1 confounder × 2 p × 1 seed = 2 arms (mode probe)" in text for text in heard.told)
    assert any("run tiny learnt from" in text for text in heard.told) is False


def test_the_artefact_alone_has_its_closed_form(first):
    control = first[1].tables["control"]
    assert len(control) == 10
    assert (control["status"] == "ok").all()
    known = {"iid": (0.5, 1.0), "reversed": (0, 0), "aligned": (1, 1), "clean": (0.5, 0.5), "neutral": (0.5, 0.5)}
    for row in control.itertuples():
        assert row.measured == known[row.split][int(row.p)]


def test_a_run_is_also_measured_as_it_was_trained(first, tiny_run):
    _, result, _ = first
    table = pd.read_csv(result.results.tables_path("predictions"))
    own = table[(table["mode"] == "trained") & (table["artefact"] == 0)].set_index("image")
    assert own["p"].isna().all()
    assert (own["seed"] == -1).all()
    epoch = tiny_run.resolve_epoch("best")
    stored = tiny_run.predictions(epoch, "test").set_index("image")["probability_lobar"]
    np.testing.assert_allclose(own["logit"], logit(stored.loc[own.index]), atol=1e-4)
    rows = result.tables["results"].query("mode == 'trained'")
    assert set(rows["split"]) == {"reversed", "aligned", "clean", "neutral"}
    reliance = result.tables["reliance"].query("mode == 'trained'").iloc[0]
    touched = table[(table["mode"] == "trained") & (table["artefact"] == 1)].set_index("image")["logit"]
    assert reliance["delta_logit"] == pytest.approx((touched - own["logit"]).mean())
    assert np.isnan(reliance["reliance"])


def test_the_head_of_an_arm_answers_as_its_probe_and_p_0_is_one_arm(phantom_folder, tiny_backbone):
    """What is explained is what is measured: the network with the probe in its head has the probe's log-odds."""
    settings = settings_of(phantom_folder, backbone=tiny_backbone)
    data = settings_data(settings)
    opened = open_candidate(settings.candidates[0], data.classes, image_size=32)
    tag = parse_confounder(TAG)
    versions = data.versions(tag, 32)
    (arm,) = fitted_arms(opened, data, tag, [(1, 0.5)])
    for answers, rows in ((arm.answers.untouched, data.test), (arm.answers.touched, len(data) + data.test)):
        logits = forward(opened.classifier.logits, versions.take(rows), 32)
        odds = logits[:, data.classes.index("lobar")] - logits[:, data.classes.index("normal")]
        np.testing.assert_allclose(answers, odds, atol=2e-4)
    assert arm.answers.seed == 1
    assert arm.answers.fold == 1
    fold = data.fold(1)
    assert arm.n_train == len(fold.train)
    assert arm.n_carriers == int(0.5 * data.positive[fold.train].sum() + 0.5)
    # who carries nothing is nobody: at p = 0 all planted confounders have the same probe
    tagged, filtered = (probe_arms(opened, data, parse_confounder(name), [0.0], [0])[0] for name in (TAG, "lowpass"))
    np.testing.assert_array_equal(tagged.untouched, filtered.untouched)
    assert tagged.threshold == filtered.threshold
    assert not np.array_equal(tagged.touched, filtered.touched)


def test_seeds_are_folds_of_whole_patients_and_more_seeds_keep_the_first(phantom_folder):
    data = robustness_data(settings_of(phantom_folder).config.data, "lobar")
    folds = [data.fold(seed) for seed in range(6)]
    assert [fold.number for fold in folds] == [0, 1, 2, 3, 4, 0]
    pool = np.flatnonzero(data.frame["split"] != "test")
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.val for fold in folds[:5]])), pool)
    for fold in folds:
        assert not set(data.patients[fold.train]) & set(data.patients[fold.val])
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.train, fold.val])), pool)
    assert not np.array_equal(folds[0].val, folds[5].val)
    carried = data.carriers(parse_confounder("tag"), folds[0].train, "iid", 0.5, 0)[1]
    np.testing.assert_array_equal(carried, assign(data.positive[folds[0].train], 0.5, 0))
    assert set(touched_rows(data)) == set(data.test) | set(np.flatnonzero(data.positive))


def test_it_goes_on_where_it_was_stopped_and_takes_more_in(phantom_folder, tiny_backbone, tmp_path, monkeypatch):
    fit, fitted = probe_module.chosen_probe, []

    def counted(*arguments, **given):
        fitted.append(1)
        if len(fitted) == 4:
            raise KeyboardInterrupt
        return fit(*arguments, **given)

    monkeypatch.setattr(probe_module, "chosen_probe", counted)
    settings = settings_of(phantom_folder, backbone=tiny_backbone, confounders="tag,lowpass", seeds=1)
    with pytest.raises(KeyboardInterrupt):
        robustness(settings, tmp_path / "r")
    assert len(KeptArms.open(Results.open(tmp_path / "r")).of("tag")) == 2
    whole = robustness(settings, tmp_path / "r").tables
    # the two arms of the tag were there; of the other one both are fitted anew
    assert len(fitted) == 4 + 2
    again = robustness(settings, tmp_path / "r").tables
    assert len(fitted) == 6
    for name, frame in whole.items():
        pd.testing.assert_frame_equal(again[name], frame, check_dtype=False)
    fresh = robustness(settings, tmp_path / "fresh").tables
    for name in ("results", "reliance"):
        pd.testing.assert_frame_equal(fresh[name], whole[name], check_dtype=False)

    other = {"sources": "twin=random", "ps": (0, 0.5), "confounders": "tag", "backbone": tiny_backbone, "seeds": 1}
    more = robustness(settings_of(phantom_folder, **other), tmp_path / "r")
    own = more.tables["results"].query("source == 'random'")
    pd.testing.assert_frame_equal(
        own.reset_index(drop=True), whole["results"].query("source == 'random'").reset_index(drop=True)
    )
    # the twin has the same weights: nothing can tell the two apart
    compared = more.tables["comparisons"]
    assert set(compared["p"]) == {0.0}
    assert (compared["difference"] == 0).all()
    assert (compared["p_bootstrap"] == 1).all()
    assert set(more.tables["results"].query("source == 'twin'")["p"]) == {0.0, 0.5}
    assert not len(printed_comparisons(more.tables))
    told = " ".join(spoken(more.tables))
    assert "With 1 seed the exact sign-flip test cannot fall below p = 1, so significance over seeds is imp" in told


def test_what_is_listed_is_there_wherever_it_is_stopped(first, tmp_path, monkeypatch):
    kept, write = KeptArms.open(first[1].results), Results.write_table
    for last in range(6):
        results, written = Results.create("robustness", tmp_path / str(last), {}), []

        def stopped(self, name, frame, written=written, last=last):
            if len(written) == last:
                raise KeyboardInterrupt
            written.append(name)
            write(self, name, frame)

        with monkeypatch.context() as patch:
            patch.setattr(Results, "write_table", stopped)
            if last < 5:
                with pytest.raises(KeyboardInterrupt):
                    kept.save(results)
            else:
                kept.save(results)
        found = KeptArms.open(results)
        listed = [arm.answers for arm in found.arms.values() if found.methods_of(arm.answers)]
        assert len(listed) == (3 if last == 5 else 0)
        assert len(found.map_films) == (3 * 20 if last >= 4 else 0)


def test_sampled_confounders_choose_films_and_change_none(phantom_folder, tiny_backbone, tmp_path):
    films = pd.read_csv(phantom_folder / "manifest.csv")
    films["path"] = [str(phantom_folder / path) for path in films["path"]]
    films.to_csv(tmp_path / "films.csv", index=False)
    about = {"backbone": tiny_backbone, "confounders": "column:sex=F", "seeds": 1, "ps": (0, 0.5, 1)}
    settings = settings_of(tmp_path / "films.csv", **about)
    result = robustness(settings, tmp_path / "r")
    table = result.tables["results"].query("source == 'random'")
    assert set(table["split"]) == {"iid", "reversed", "aligned", "neutral"}
    assert table[["n_pos", "n_neg"]].drop_duplicates().shape[0] == 1
    assert result.tables["visibility"]["status"].tolist() == ["no_pixels_changed"]
    arms = result.results.table("arms")
    # no film of the classes has the value at p = 0; at p = 1 every positive one, and only these
    assert arms.set_index("p")["n_carriers"].tolist()[0] == 0
    assert (arms["n_train"] == arms["n_train"].iloc[0]).all()
    data = settings_data(settings)
    rows, _ = data.carriers(parse_confounder("column:sex=F"), data.fold(0).train, "iid", 1.0, 0)
    np.testing.assert_array_equal((data.frame["sex"] == "F").to_numpy()[rows], data.positive[rows])
    with pytest.raises(DataError, match=r"no column 'sx'.*Did you mean 'sex'"):
        robustness(settings_of(phantom_folder, backbone=tiny_backbone, confounders="column:sx=F"), tmp_path / "other")
    # the same films and classes, but another value of one that was answered
    row = films.index[films["split"] == "test"][0]
    films.loc[row, "sex"] = {"F": "M", "M": "F"}[films.loc[row, "sex"]]
    films.to_csv(tmp_path / "films.csv", index=False)
    with pytest.raises(RunError, match=r"answers to column:sex=F of test films with other classes, patients or values"):
        robustness(settings, tmp_path / "r")


def test_finetune_trains_ordinary_runs_and_asks_them(phantom_folder, tiny_backbone, tmp_path):
    given = {"mode": "finetune", "backbone": tiny_backbone, "image_size": 32, "epochs": (1, 0), "seeds": 1}
    settings = settings_of(phantom_folder, batch_size=16, **given)
    result = robustness(settings, tmp_path / "r")
    runs = sorted(path.name for path in (tmp_path / "r" / "runs").iterdir())
    # where nobody carries anything, all planted confounders share a run
    assert runs == ["random-p0-seed0", "random-tag_height_0.3-p1-seed0"]
    run = Run(tmp_path / "r" / "runs" / "random-tag_height_0.3-p1-seed0")
    assert run.config.data.confounder.spec == TAG
    assert run.config.training.keep == "best"
    manifest = run.manifest()
    carries = manifest.query("split == 'train'")["artefact"] == 1
    np.testing.assert_array_equal(carries, manifest.query("split == 'train'")["label"] == "lobar")
    kept = KeptArms.open(result.results)
    arm = next(arm for arm in kept.of("tag:height=0.3") if arm.answers.p == 1)
    assert (arm.run, arm.n_train, arm.n_carriers) == (run.name, len(carries), int(carries.sum()))
    # its own test films carry the tag as in the split iid, so it must have given the same answers there
    stored = run.predictions(arm.epoch, "test").set_index("image")["probability_lobar"]
    films = kept.films["tag:height=0.3"]
    odds = split_logits(arm.answers, films, "iid")
    np.testing.assert_allclose(odds, logit(stored.loc[list(films.images)]), atol=1e-4)
    assert set(result.tables["results"]["mode"]) == {"finetune", "control"}
    before = (run.path / "run.json").stat().st_mtime_ns
    robustness(settings, tmp_path / "r")
    assert (run.path / "run.json").stat().st_mtime_ns == before
    longer = settings_of(phantom_folder, confounders=TAG, batch_size=16, **{**given, "epochs": (2, 0), "seeds": 2})
    with pytest.raises(RunError, match=r"random-p0-seed0 was trained with other settings: training.epochs"):
        robustness(longer, tmp_path / "r")
    noisy = arm_training(longer, "random", "noise", parse_confounder("noise"), 0.0, 0, "lobar")
    assert noisy.name == "random-noise-p0-seed0"


def test_a_directory_keeps_to_its_films_and_weights(first, phantom_folder):
    settings, result, _ = first
    own = {"sources": f"own={settings.candidates[0].weights}", "image_size": 64}
    with pytest.raises(RunError, match="positive stored 'lobar', received 'normal'"):
        robustness(settings_of(phantom_folder, **own, positive="normal"), result.results.path)
    with pytest.raises(RunError, match="image_size stored 64, received 32"):
        robustness(settings_of(phantom_folder), result.results.path)
    with pytest.raises(RunError, match=r"source own was measured in .* with another sha256"):
        robustness(settings_of(phantom_folder, **{**own, "sources": "own=random"}), result.results.path)


def test_settings(phantom_folder, tiny_run):
    assert split_specs("tag:x=.8,y=.1,lowpass:cutoff=.3,column:sex=F") == (
        "tag:x=.8,y=.1",
        "lowpass:cutoff=.3",
        "column:sex=F",
    )
    nothing = robustness_settings()
    assert (nothing.config.model.backbone, nothing.image_size) == ("compact", 96)
    assert [c.name for c in nothing.candidates] == ["random"]
    assert nothing.specs == ("tag", "lowpass")
    assert nothing.ps == (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
    assert nothing.arms == 60
    assert nothing.mode == "probe"
    assert nothing.methods == ("gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++")
    # of a run alone nothing has to be said but its name
    own = robustness_settings(data=phantom_folder, sources=f"run:{tiny_run.path}", ps=[0.2, 1, 1])
    assert (own.config.model.backbone, own.image_size, own.ps) == ("compact", 64, (0.0, 0.2, 1.0))
    mixed = robustness_settings(data=phantom_folder, backbone="ResNet50V2", sources=f"imagenet,a=run:{tiny_run.path}")
    assert [c.backbone for c in mixed.candidates] == ["ResNet50V2", "compact"]
    for wrong, message in (
        ({"ps": (0, 1.2)}, "Expected 0 to 1, received 1.2"),
        ({"confounders": "tag,lowpass,tag"}, "confounder tag stands there more than once"),
        ({"confounders": "tagg"}, "Did you mean 'tag'"),
        ({"sources": "random,random"}, "two candidates are called 'random'"),
        ({"seeds": 0}, "one seed or more"),
        ({"seeds": 41}, "at most 40 seeds. Received 41"),
        ({"mode": "probes"}, "Did you mean 'probe'"),
        ({"methods": "layercm"}, "Did you mean 'layercam'"),
    ):
        with pytest.raises(UsageError, match=message):
            settings_of(phantom_folder, **wrong)
    with pytest.raises(ConfigError, match=r"Take data\.confounder out"):
        settings_of(phantom_folder, confounder={"spec": "tag"})
    with pytest.raises(UsageError, match=r"unknown positive class 'lobr'.*Did you mean 'lobar'"):
        settings_data(settings_of(phantom_folder, positive="lobr"))


def test_the_plan_counts_what_is_done(phantom_folder):
    settings = settings_of(phantom_folder, confounders="tag,lowpass,noise,column:sex=F", seeds=3)
    data = settings_data(settings)
    plan = arm_plan(settings, data).set_index("confounder")
    touched = len(touched_rows(data))
    # 80 films as they are serve tag, low-pass and the column; noise alters all of them
    assert plan["forwards"].tolist() == [80 + touched, touched, 80 + touched, 0, 160 + 3 * touched]
    assert plan["arms"].tolist() == [6, 6, 6, 6, 24]
    # maps: of a head once, 20 test films twice; of the whole net in each arm, and of the 10 negative ones two
    shown = settings_of(phantom_folder, confounders="tag", methods="layercam,gradcam", seeds=3)
    assert arm_plan(shown, data)["forwards"].iloc[0] == 80 + touched + 40
    passed = settings_of(phantom_folder, confounders="tag", methods="layercam,ms-gradcam++", seeds=3)
    assert arm_plan(passed, data)["forwards"].iloc[0] == 80 + touched + 40 + 6 * 2 * 30
    tuned = settings_of(phantom_folder, confounders="tag,lowpass", mode="finetune", epochs=(2, 1), seeds=2)
    plan = arm_plan(tuned, data)
    # p = 0 is trained once for both
    assert plan["trainings"].tolist() == [4, 2, 6]
    train, val, test = (int((data.frame["split"] == name).sum()) for name in ("train", "val", "test"))
    stage1, stage2 = train + val + test, val + test + 3 * train
    assert plan["forwards"].tolist()[:2] == [n * (stage1 + stage2) + 4 * (val + 2 * test) for n in (4, 2)]


def test_what_is_said_is_no_more_than_was_measured(first):
    tables = first[1].tables
    told = " ".join(spoken(tables))
    assert "has the AUC of its closed form in all 10 rows (largest difference 0)" in told
    assert "is not the reliance of a fine-tuned model" in told
    assert "own as it was trained: tag:height=0.3 moves its log-odds by" in told
    assert "invisible" not in told
    shown = printed_reliance(tables)
    assert shown["p"].tolist() == ["0", "1", "NaN"]
    results = tables["results"].query("p == 1 and source == 'own'").set_index("split")["auc"]
    assert shown[["iid", "clean", "reversed"]].iloc[1].tolist() == [
        results[name] for name in ("iid", "clean", "reversed")
    ]
    faint = tables["visibility"].assign(status="invisible", rms=0.031)
    assert "tag:height=0.3 is nearly invisible at 64 px: it changes the input by 0.031 grey levels" in " ".join(
        spoken({**tables, "visibility": faint})
    )
    wrong = tables["control"].assign(status="off", difference=0.1)
    assert spoken({**tables, "control": wrong})[0].startswith("CONTROL FAILED")


def test_maps_of_every_arm_are_measured_and_drawn(first, drawn):
    _, result, _ = first
    maps = result.tables["maps"]
    assert set(maps["method"]) == {"layercam"}
    arms = {(row.source, row.mode, str(row.p)) for row in maps.itertuples()}
    assert arms == {("own", "probe", "0.0"), ("own", "probe", "1.0"), ("own", "trained", "nan")}
    before = maps.query("metric == 'mass_before' and split == 'aligned'")["value"]
    assert (before > 0).all()
    (gallery, of_gallery), (figure, of_figure) = drawn[:2]
    assert (gallery, figure) == ("save_shortcut_gallery", "save_robustness_figure")
    target, versions, films, confounder, arms = of_gallery
    assert target == result.results.figure_path("maps-own-tag_height_0.3-probe")
    assert len(versions) == 2 * len(films.images) == 40
    assert (confounder.name, sorted(arms)) == ("tag:height=0.3", [0.0, 1.0])
    pd.testing.assert_frame_equal(of_figure[1], result.tables["results"])
