"""A study's configuration, directory and cells: what it crosses, what it keeps, and one resume for all."""

from __future__ import annotations

import pytest
import yaml

from cxrkeras.config import Config, dump_yaml, load_config, shipped
from cxrkeras.errors import ConfigError, DataError, RunError
from cxrkeras.run import Run
from cxrkeras.study import Cell, Outcome, Study, StudyConfig, is_study, load_study, work_through
from cxrkeras.study.config import parse_study
from cxrkeras.study.directory import members

SIX = ["gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "ms-gradcam++"]
STUDIES = [name for name in shipped() if is_study(name)]


def config_of(**study) -> StudyConfig:
    return parse_study({"study": {"backbones": ["compact"], **study}}, "test")


def test_the_papers_matrix_is_as_published():
    config = load_study("kermany-study")
    assert [entry.name for entry in config.study.backbones] == ["DenseNet201", "InceptionV3", "ResNet50V2"]
    assert [entry.name for entry in config.study.methods] == SIX
    assert config.training.epochs == (15, 15)
    assert config.training.checkpoint_every == 5
    assert config.model.weights == "imagenet"
    assert config.model.image_size is None, "every backbone at its native size"
    assert config.training.learning_rate == load_config("kermany").training.learning_rate


def test_the_study_for_two_cores_trains_small_and_limits_scorecam():
    config = load_study("kermany-cpu-study")
    made = {member.name: member.config for member in members(config)}
    assert {name: one.model.image_size for name, one in made.items()} == {
        "DenseNet201-seed0": 128,
        "InceptionV3-seed0": 160,
        "ResNet50V2-seed0": 128,
    }
    assert {(one.model.weights, one.training.epochs, one.training.checkpoint_every) for one in made.values()} == {
        ("random", (6, 6), 2)
    }
    (scorecam,) = [method for method in config.study.methods if method.name == "scorecam"]
    assert (scorecam.backbones, scorecam.limit, scorecam.options) == (("ResNet50V2",), 10, {})


@pytest.mark.parametrize("name", STUDIES)
def test_every_shipped_study_survives_a_round_trip(name):
    config = load_study(name)
    text = dump_yaml(config)
    assert parse_study(yaml.safe_load(text), "again") == config
    assert "    from:" in text, "drift's own words, not Python's"


def test_runs_and_studies_are_told_apart():
    assert set(STUDIES) == {"kermany-study", "kermany-cpu-study", "kermany-fractions", "smoke-study"}
    with pytest.raises(
        ConfigError, match=r"several runs; expected one run\. Use `cxrkeras study --config smoke-study`"
    ):
        load_config("smoke-study")
    with pytest.raises(ConfigError, match=r"kermany has no study section.*shipped studies: kermany-cpu-study"):
        load_study("kermany")


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"backbone": ["compact"]}, r"unknown field 'study\.backbone'.*Did you mean 'backbones'"),
        (
            {"methods": [{"name": "gradcam", "limt": 3}]},
            r"unknown field 'study\.methods\.0\.limt'.*Did you mean 'limit'",
        ),
        ({"drift": {"form": 3}}, r"unknown field 'study\.drift\.form'.*Did you mean 'from'"),
        ({"backbones": []}, r"study\.backbones"),
        ({"seeds": [-1]}, r"study\.seeds\.0.*received -1"),
        ({"recommend_on": "train"}, r"recommend_on.*received 'train'"),
        ({"backbones": [{"name": "compact", "label": "a/b"}]}, r"label.*received 'a/b'"),
    ],
)
def test_a_wrong_study_names_the_field(study, message):
    with pytest.raises(ConfigError, match=message):
        config_of(**study)


def test_a_part_is_switched_off_in_one_word():
    config = config_of(drift=False, validity=False, report=False)
    assert (config.study.drift.enabled, config.study.validity.enabled, config.study.report) == (False, False, False)
    assert config_of(drift={"from": 5, "to": 10}).study.drift.from_epoch == 5


def test_a_study_crosses_backbones_and_seeds_over_shared_sections():
    text = """
    data: {path: films, split_column: fold}
    model: {dropout: 0.1, image_size: 96}
    training: {seed: 9, epochs: [1, 2]}
    study:
      seeds: [3, 4]
      backbones: [compact, {name: compact, label: small, image_size: 64, weights: random}]
    """
    made = members(parse_study(yaml.safe_load(text), "test"))
    assert [one.name for one in made] == ["compact-seed3", "compact-seed4", "small-seed3", "small-seed4"]
    assert [one.config.training.seed for one in made] == [3, 4, 3, 4]
    assert [one.config.model.image_size for one in made] == [96, 96, 64, 64]
    assert [one.config.model.weights for one in made] == ["imagenet"] * 2 + ["random"] * 2
    assert {one.config.model.dropout for one in made} == {0.1}
    assert {one.config.data.split_column for one in made} == {"fold"}
    assert {type(one.config) for one in made} == {Config}, "a run's configuration knows no study"
    with pytest.raises(ConfigError, match=r"compact-seed0 more than once.*`label`"):
        members(config_of(backbones=["compact", "compact"]))


def test_a_study_is_made_taken_up_again_and_not_mistaken(tmp_path):
    study = Study.create(tmp_path / "s", config_of(seeds=[0]))
    assert Study.open(tmp_path / "s").config == study.config
    wider = config_of(seeds=[0, 1], methods=["gradcam"])
    assert Study.create(study.path, wider).config.study.seeds == (0, 1), "a study may grow"
    other = wider.model_copy(update={"training": wider.training.model_copy(update={"epochs": (1, 1)})})
    with pytest.raises(RunError, match=r"training\.epochs stored \(15, 15\), received \(1, 1\)"):
        Study.create(study.path, other)
    assert Study.open(study.path).config == wider
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"not a cxrkeras study \(it holds notes\.txt\)"):
        Study.create(tmp_path / "thesis", wider)
    with pytest.raises(RunError, match="no study at"):
        Study.open(tmp_path / "thesis")


def test_a_bare_name_lies_under_artifacts_and_a_near_one_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Study.create("artifacts/winter", config_of())
    assert Study.open("winter").name == "winter"
    with pytest.raises(RunError, match="Did you mean 'winter'"):
        Study.open("wintr")


def test_runs_that_are_there_are_found_in_the_order_of_the_configuration(tmp_path):
    study = Study(tmp_path / "s")
    config = config_of(seeds=[1, 0])
    for name in ("compact-seed0", "compact-seed1", "compact-seed7"):
        Run.create(study.run_path(name), members(config)[0].config)
    study = Study.create(study.path, config)
    assert [run.name for run in study.runs()] == ["compact-seed1", "compact-seed0"]


def test_what_became_of_cells_is_kept_and_merged(tmp_path):
    study = Study.create(tmp_path / "s", config_of())
    cell = Cell("compact-seed0", "score", "gradcam", 5, "test")
    assert cell.name == "compact-seed0/score/test/epoch_005/gradcam"
    assert study.record(cell) == {}
    study.note_inputs(cell, "abc")
    study.note([Outcome(cell, "done", True, 1.23456)])
    study.update_info(state="complete")
    assert study.record(cell) == {"state": "done", "seconds": 1.235, "error": "", "inputs": "abc"}
    assert Study(study.path).info["state"] == "complete"
    (study.path / "study.json").write_text("{half")
    with pytest.raises(RunError, match=r"study\.json cannot be read"):
        study.record(cell)


class Shelf:
    """Work whose results are a set; cells in `broken` fail."""

    def __init__(self, stored=(), broken=(), killer=None):
        self.stored, self.broken, self.killer = set(stored), set(broken), killer
        self.calls, self.noted = [], []

    def note(self, outcomes):
        self.noted += outcomes

    def done(self, cell):
        return cell in self.stored

    def perform(self, cells):
        self.calls.append([cell.method for cell in cells])
        if self.killer in cells:
            raise KeyboardInterrupt
        if bad := [cell for cell in cells if cell in self.broken]:
            raise DataError(f"{bad[0].method} cannot be read.")
        self.stored |= set(cells)

    def work(self, pieces):
        return work_through(self, pieces, self.done, self.perform)


def cells_of(names):
    return [Cell("run", "score", name, 1) for name in names]


def test_only_what_is_missing_is_done():
    pieces = [cells_of("abc"), cells_of("de")]
    shelf = Shelf(stored=cells_of("bde"))
    outcomes = shelf.work(pieces)
    assert shelf.calls == [["a", "c"]]
    assert [(o.cell.method, o.state, o.fresh) for o in outcomes] == [
        ("b", "done", False),
        ("a", "done", True),
        ("c", "done", True),
        ("d", "done", False),
        ("e", "done", False),
    ]
    assert [o.cell.method for o in shelf.noted] == ["a", "c"]
    assert outcomes[1].seconds == outcomes[2].seconds > 0
    assert not Shelf(stored=shelf.stored).work(pieces)[0].fresh


def test_a_cell_that_fails_is_named_and_the_others_go_on():
    shelf = Shelf(broken=cells_of("b"))
    outcomes = shelf.work([cells_of("abc"), cells_of("d")])
    assert shelf.calls == [["a", "b", "c"], ["a"], ["b"], ["c"], ["d"]]
    assert {o.cell.method: o.state for o in outcomes} == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    (failed,) = [o for o in outcomes if o.state == "failed"]
    assert failed.error == "b cannot be read."
    shelf.broken, shelf.calls = set(), []
    assert {o.state for o in shelf.work([cells_of("abc"), cells_of("d")])} == {"done"}
    assert shelf.calls == [["b"]], "the next session tries it again"


def test_an_unforeseen_failure_says_its_kind_and_so_does_a_check_that_breaks():
    def broken(cells):
        raise ZeroDivisionError("no films")

    shelf = Shelf()
    (outcome,) = work_through(shelf, [cells_of("a")], shelf.done, broken)
    assert outcome.error == "unexpected ZeroDivisionError: no films"
    (outcome,) = work_through(shelf, [cells_of("a")], lambda cell: 1 / 0, shelf.perform)
    assert (outcome.state, shelf.calls) == ("failed", [])
    assert outcome.error.startswith("unexpected ZeroDivisionError")


def test_a_kill_loses_only_the_piece_it_hit():
    pieces = [cells_of("ab"), cells_of("c"), cells_of("d")]
    shelf = Shelf(killer=cells_of("c")[0])
    with pytest.raises(KeyboardInterrupt):
        shelf.work(pieces)
    assert [o.cell.method for o in shelf.noted] == ["a", "b"]
    shelf.killer, shelf.calls = None, []
    shelf.work(pieces)
    assert shelf.calls == [["c"], ["d"]]
