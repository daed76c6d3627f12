"""One home for defaults, and errors that name the field."""

from __future__ import annotations

import pytest
import yaml

from cxrkeras.config import Config, dump_yaml, flat_overrides, load_config, parse_config, shipped
from cxrkeras.errors import ConfigError
from cxrkeras.study import is_study


def test_the_defaults_are_the_papers():
    config = Config()
    assert config.model.backbone == "DenseNet201"
    assert config.model.weights == "imagenet"
    assert config.training.epochs == (15, 15)
    assert config.training.checkpoint_every == 5
    assert config.training.learning_rate == (1e-3, 1e-5)
    assert config.score.threshold == 0.7
    assert config.score.gamma == 2.0


def test_the_phantom_configuration_is_as_specified():
    config = load_config("phantom")
    assert (config.model.backbone, config.model.weights, config.model.image_size) == ("compact", "random", 96)
    assert (config.data.path, config.data.phantom.films, config.data.phantom.classes) == ("phantom", 400, 2)
    assert config.training.learning_rate == (1e-3, 1e-3)
    assert config.batch_norm == "train"


@pytest.mark.parametrize("name", [name for name in shipped() if not is_study(name)])
def test_every_shipped_configuration_survives_a_round_trip(name):
    config = load_config(name)
    assert parse_config(yaml.safe_load(dump_yaml(config)), "again") == config


def test_batch_norm_follows_the_weights_unless_named():
    assert load_config(None, {"model": {"weights": "random"}}).batch_norm == "calibrate"
    assert load_config(None, {"model": {"weights": "imagenet"}}).batch_norm == "inference"
    assert (
        load_config(None, {"model": {"weights": "random"}, "training": {"batch_norm": "train"}}).batch_norm == "train"
    )


def test_flags_override_the_file_field_by_field(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {backbone: ResNet50V2, weights: random}\ntraining: {seed: 7}\n")
    config = load_config(file, flat_overrides(seed=8, data="films", backbone=None))
    assert (config.model.backbone, config.training.seed, config.data.path) == ("ResNet50V2", 8, "films")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: [1, 1]}", r"unknown field 'training.epoch'.*Did you mean 'epochs'"),
        ("model: {bacbone: x}", r"Did you mean 'backbone'"),
        ("training: {epochs: [-1, 0]}", r"expected two counts"),
        ("training: {learning_rate: [1.0e-3, 0]}", r"two positive rates"),
        ("score: {threshold: 2}", r"score.threshold.*received 2"),
        ("- a list", r"expected sections"),
        ("a: [", r"not valid YAML"),
    ],
)
def test_a_wrong_file_names_the_field(tmp_path, text, message):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(file)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'phantom'"):
        load_config("phantm")
    with pytest.raises(ConfigError, match="Did you mean 'backbone'"):
        flat_overrides(backbon="x")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config("nowhere.yaml")
