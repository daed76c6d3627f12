"""The grammar of a candidate, what it refuses, and with which words."""

from __future__ import annotations

import pytest

from cxrkeras.errors import UsageError
from cxrkeras.sources import Candidate, checked_candidates, parse_candidate
from cxrkeras.sources.candidates import PREPROCESSING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i=ResNet50:imagenet", ("i", "ResNet50", "imagenet", None)),
        ("i=ResNet50:imagenet:torch", ("i", "ResNet50", "imagenet", "torch")),
        ("r=compact:random:[0,1]", ("r", "compact", "random", "unit")),
        ("own=run:first@best", ("own", None, "run:first@best", None)),
        ("own=compact:run:first@5", ("own", "compact", "run:first@5", None)),
        ("own=run:artifacts/a.b/first@5", ("own", None, "run:artifacts/a.b/first@5", None)),
        ("x=DenseNet121:/data/net.h5:caffe/255", ("x", "DenseNet121", "/data/net.h5", "caffe/255")),
        ("x=DenseNet121:net.weights.h5:none", ("x", "DenseNet121", "net.weights.h5", "none")),
        ("ResNet50:imagenet", ("ResNet50-imagenet", "ResNet50", "imagenet", None)),
        ("run:first@best", ("first", None, "run:first@best", None)),
        ("run:artifacts/first@5", ("first@5", None, "run:artifacts/first@5", None)),
    ],
)
def test_a_candidate_without_a_default_backbone(text, expected):
    found = parse_candidate(text)
    assert (found.name, found.backbone, found.weights, found.preprocessing) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random", ("random", "compact", "random", None)),
        ("imagenet:caffe", ("imagenet", "compact", "imagenet", "caffe")),
        ("a=imagenet", ("a", "compact", "imagenet", None)),
        ("a=ResNet50:imagenet", ("a", "ResNet50", "imagenet", None)),
        ("./net.h5:tf", ("net", "compact", "./net.h5", "tf")),
        ("dir/a=b.h5:unit", ("a-b", "compact", "dir/a=b.h5", "unit")),
        ("a=run:first", ("a", "compact", "run:first", None)),
    ],
)
def test_a_candidate_with_a_default_backbone(text, expected):
    found = parse_candidate(text, backbone="compact")
    assert (found.name, found.backbone, found.weights, found.preprocessing) == expected


def test_kinds():
    texts = ("a=compact:imagenet", "b=compact:random", "c=run:x", "d=compact:x.h5:tf")
    assert [parse_candidate(text).kind for text in texts] == ["imagenet", "random", "run", "file"]


def test_a_radimagenet_file_has_its_preprocessing_and_a_warning_and_may_be_told_otherwise():
    found = parse_candidate("rad=ResNet50:weights/RadImageNet-ResNet50_notop.h5")
    assert found.preprocessing == "caffe/255"
    assert "have not said which is right" in found.warning
    told = parse_candidate("rad=ResNet50:weights/RadImageNet-ResNet50_notop.h5:caffe")
    assert (told.preprocessing, told.warning) == ("caffe", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a=ResNet50:net.h5", "cannot be told from the file.*tf, torch, caffe, caffe/255, unit, none"),
        ("a=ResNet50:net.h5:cafe", "unknown preprocessing 'cafe'.*Did you mean 'caffe'"),
        ("a=ResNet50:imagenet:caffe/256", "unknown preprocessing 'caffe/256'.*Did you mean 'caffe/255'"),
        ("a=run:first:torhc", "unknown preprocessing 'torhc'.*Did you mean 'torch'"),
        ("a=ResNet50:imagnet", "unknown weights 'imagnet'.*Did you mean 'imagenet'"),
        ("a=imagenet", "names no backbone.*a=DenseNet121:imagenet"),
        ("a=run:", "names no run"),
        ("=ResNet50:imagenet", "no usable name"),
        ("a b=ResNet50:imagenet", "no usable name"),
        ("a=", "unknown weights ''"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse_candidate(text)


def test_no_name_twice_and_at_least_one():
    listed = [parse_candidate(text, backbone="compact") for text in ("random", "b=random")]
    assert checked_candidates(listed) == tuple(listed)
    with pytest.raises(UsageError, match="two candidates are called 'Random'"):
        checked_candidates([*listed, Candidate("Random", "compact", "random")])
    with pytest.raises(UsageError, match="no candidate"):
        checked_candidates([])


def test_its_preprocessing_modes_are_those_of_the_classifier():
    from cxrkeras.models.preprocessing import MODES

    assert tuple(MODES) == PREPROCESSING
