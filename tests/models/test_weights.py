"""Weight sources: the right file fills the backbone, a wrong one says what it is."""

from __future__ import annotations

import dataclasses
import zipfile

import keras
import numpy as np
import pytest

from cxrkeras.errors import BackboneError, WeightsError
from cxrkeras.models.backbones import BACKBONES, backbone
from cxrkeras.models.classifier import Classifier, build_classifier
from cxrkeras.models.weights import (
    load_file,
    load_imagenet,
    parse_weights,
    source_preprocessing,
    weights_hash,
)
from cxrkeras.store import sha256_file


def compact(seed: int, classes=("a", "b")) -> Classifier:
    return build_classifier(backbone("compact"), classes, 64, seed=seed)


def equal_backbones(one: Classifier, two: Classifier) -> bool:
    pairs = zip(one.backbone_layers, two.backbone_layers, strict=True)
    return all(np.array_equal(a, b) for x, y in pairs for a, b in zip(x.get_weights(), y.get_weights(), strict=True))


@pytest.fixture(scope="module")
def source() -> Classifier:
    return compact(seed=1)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
@pytest.mark.parametrize("head", ["without", "with"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_file_with_or_without_its_top_fills_the_backbone_only(source, tmp_path, suffix, head):
    model = source.model if head == "with" else keras.Model(source.pooled.input, source.pooled.output)
    file = tmp_path / f"w{suffix}"
    model.save_weights(file) if suffix == ".weights.h5" else model.save(file)
    target = compact(seed=2)
    before = target.model.get_layer("logits").get_weights()
    assert not equal_backbones(source, target)
    assert load_file(target, file) == sha256_file(file)
    assert equal_backbones(source, target)
    assert weights_hash(source) == weights_hash(target)
    for a, b in zip(before, target.model.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_nested_model_opens_up(source, tmp_path):
    films = keras.Input((64, 64, 3))
    inner = keras.Model(source.pooled.input, source.pooled.output, name="inner")
    outer = keras.Model(films, keras.layers.Dense(3)(keras.layers.Flatten()(inner(films))))
    for name in ("nested.weights.h5", "nested.keras"):
        file = tmp_path / name
        outer.save_weights(file) if name.endswith("weights.h5") else outer.save(file)
        target = compact(seed=2)
        load_file(target, file)
        assert equal_backbones(source, target)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_wrong_files_say_what_is_wrong(source, tmp_path):
    target = compact(seed=2)
    before = weights_hash(target)
    small = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    small.save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(WeightsError, match="Expected 16 layers with weights, or 17 with a head; received 2"):
        load_file(target, tmp_path / "small.weights.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_file(target, tmp_path / "text.h5")
    (tmp_path / "text.keras").write_text("not an archive")
    with pytest.raises(WeightsError, match=r"not a \.keras archive"):
        load_file(target, tmp_path / "text.keras")
    source.model.save_weights(tmp_path / "whole.weights.h5")
    cut = (tmp_path / "whole.weights.h5").read_bytes()[:-2000]
    (tmp_path / "cut.weights.h5").write_bytes(cut)
    with pytest.raises(WeightsError, match="truncated"):
        load_file(target, tmp_path / "cut.weights.h5")
    assert weights_hash(target) == before


def test_counts_are_those_of_the_published_files():
    published = {"ResNet50": 106, "ResNet50V2": 102, "ResNet101": 208, "DenseNet121": 241, "DenseNet201": 401}
    published |= {"InceptionV3": 188, "InceptionResNetV2": 448}
    ours = {name: row.weighted_layers for name, row in BACKBONES.items() if name in published}
    assert len(ours) >= 4
    assert ours == {name: published[name] for name in ours}


def test_a_file_of_the_right_count_but_other_shapes_names_the_layer(tmp_path):
    films = keras.Input((32, 32, 1))
    x = films
    for _ in range(8):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    keras.Model(films, x).save_weights(tmp_path / "grey.weights.h5")
    with pytest.raises(WeightsError, match=r"does not fit compact at layer '.*'\. Expected shapes"):
        load_file(compact(seed=2), tmp_path / "grey.weights.h5")


def test_a_count_names_every_network_that_has_it(tmp_path, monkeypatch):
    twin = dataclasses.replace(backbone("ResNet50"), name="Twin", weighted_layers=3)
    shorter = dataclasses.replace(twin, name="Shorter", weighted_layers=2)
    monkeypatch.setitem(BACKBONES, "Twin", twin)
    monkeypatch.setitem(BACKBONES, "Shorter", shorter)
    three = keras.Sequential([keras.Input((8,)), *(keras.layers.Dense(2) for _ in range(3))])
    three.save(tmp_path / "three.keras")
    with pytest.raises(
        WeightsError,
        match=r"Expected 16 layers with weights, or 17 with a head; received 3\. That is the count of Twin and of "
        "Shorter with a head: use --backbone Twin",
    ):
        load_file(compact(seed=2), tmp_path / "three.keras")


def test_a_keras_archive_is_counted_without_building_its_network(source, tmp_path, monkeypatch):
    source.model.save(tmp_path / "w.keras")
    monkeypatch.setattr(keras.models, "load_model", lambda *a, **k: pytest.fail("the network was built"))
    target = compact(seed=2)
    load_file(target, tmp_path / "w.keras")
    assert equal_backbones(source, target)
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_file(target, tmp_path / "empty.keras")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: [np.full_like(a, np.nan) if i == 0 else a for i, a in enumerate(w)], "are not finite"),
        (lambda w: [*w[:-1], -w[-1]], "moving variances from -1 to -1. Expected positive ones"),
        (lambda w: [*w[:-1], 0 * w[-1]], "moving variances from 0 to 0. Expected positive ones"),
    ],
)
def test_weights_that_cannot_be_are_refused_and_change_nothing(tmp_path, spoil, message):
    broken, target = compact(seed=1), compact(seed=2)
    norm = broken.batch_norms[3]
    norm.set_weights(spoil(norm.get_weights()))
    broken.model.save_weights(tmp_path / "broken.weights.h5")
    before = weights_hash(target)
    with pytest.raises(WeightsError, match=message) as refused:
        load_file(target, tmp_path / "broken.weights.h5")
    assert norm.name in str(refused.value)
    assert weights_hash(target) == before


def test_one_dead_channel_is_no_broken_file(source, tmp_path):
    dead, target = compact(seed=1), compact(seed=2)
    *others, variance = dead.batch_norms[3].get_weights()
    variance[0] = 0
    dead.batch_norms[3].set_weights([*others, variance])
    dead.model.save_weights(tmp_path / "dead.weights.h5")
    load_file(target, tmp_path / "dead.weights.h5")
    assert equal_backbones(dead, target)


def test_sources_are_parsed_and_refused():
    assert parse_weights("random").kind == "random"
    assert parse_weights("run:mine@20") == parse_weights("run:mine@20")
    assert (parse_weights("run:mine").value, parse_weights("run:mine").epoch) == ("mine", "best")
    assert parse_weights("run:mine@20").epoch == "20"
    with pytest.raises(WeightsError, match="neither a source nor a file"):
        parse_weights("imagnet")
    with pytest.raises(WeightsError, match="names no run"):
        parse_weights("run:")
    with pytest.raises(WeightsError, match="unknown ending"):
        parse_weights(__file__)


def test_preprocessing_belongs_to_the_source(tmp_path):
    file = tmp_path / "RadImageNet-ResNet50_notop.h5"
    file.touch()
    row = backbone("ResNet50")
    assert source_preprocessing(parse_weights(str(file)), row) == "caffe/255"
    assert source_preprocessing(parse_weights("imagenet"), row) == "caffe"
    assert source_preprocessing(parse_weights(str(file)), row, "torch") == "torch"
    with pytest.raises(WeightsError, match="unknown preprocessing 'tourch'"):
        source_preprocessing(parse_weights("imagenet"), row, "tourch")


@pytest.fixture(scope="module")
def resnet() -> Classifier:
    return build_classifier(backbone("ResNet50V2"), ("a", "b"), 96, seed=1)


def test_imagenet_without_network_names_the_cache_file_and_the_ways_out(monkeypatch, resnet):
    def offline(*arguments, **options):
        raise OSError("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    monkeypatch.setenv("KERAS_HOME", "/where/keras/looks")
    with pytest.raises(
        WeightsError,
        match=r"/where/keras/looks/models/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop\.h5.*--weights FILE",
    ):
        load_imagenet(resnet)
    with pytest.raises(WeightsError, match="compact has no ImageNet weights"):
        load_imagenet(compact(seed=0))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_imagenet_weights_are_those_of_the_file_that_keras_finds(monkeypatch, tmp_path, resnet):
    file = tmp_path / "models" / resnet.backbone.imagenet_file
    file.parent.mkdir()
    keras.Model(resnet.pooled.input, resnet.pooled.output).save(file)
    published = weights_hash(resnet)
    for layer in resnet.backbone_layers:
        layer.set_weights([weights + 1 for weights in layer.get_weights()])
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *arguments, **options: str(file))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights_hash(resnet) != published
    assert load_imagenet(resnet) == sha256_file(file)
    assert weights_hash(resnet) == published


def test_the_same_seed_draws_the_same_weights_and_another_does_not(source):
    assert weights_hash(compact(seed=1)) == weights_hash(source)
    assert weights_hash(compact(seed=2)) != weights_hash(source)


def test_unknown_backbones_suggest_the_nearest():
    assert backbone("densenet201") is BACKBONES["DenseNet201"]
    with pytest.raises(BackboneError, match="Did you mean 'ResNet50V2'"):
        backbone("ResNet50V3")
