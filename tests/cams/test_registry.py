"""The method table, the parsing of names, and what the package shows."""

import pytest

from cxrkeras.cams.options import CHECKS, check_values
from cxrkeras.cams.registry import (
    ALL_CAMS,
    METHODS,
    Method,
    method_names,
    method_options,
    methods_table,
    scorecam_forwards,
)
from cxrkeras.errors import MethodError


def test_all_are_the_six_cams():
    assert method_names("all") == ALL_CAMS
    assert len(ALL_CAMS) == 6
    assert set(ALL_CAMS) <= set(METHODS)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("gradcam", ("gradcam",)),
        (" LayerCAM , gradcam++,layercam", ("layercam", "gradcam++")),
        (["eigencam", "gradcam"], ("eigencam", "gradcam")),
    ],
)
def test_names_are_parsed(spec, names):
    assert method_names(spec) == names


def test_unknown_and_empty_names():
    with pytest.raises(MethodError, match=r"unknown method 'scorcam'.*Did you mean 'scorecam'"):
        method_names("scorcam")
    with pytest.raises(MethodError, match="no method given"):
        method_names(" , ")


def test_options_are_completed_and_unknown_ones_named():
    options = method_options(("gradcam", "scorecam"), {"max_channels": 8})
    assert options["gradcam"] == {}
    assert options["scorecam"] == {**METHODS["scorecam"].options, "max_channels": 8}
    with pytest.raises(MethodError, match="Did you mean 'max_channels'"):
        method_options(("scorecam",), {"max_chanels": 8})


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_record_is_complete_and_loads(method: Method):
    assert METHODS[method.name] is method
    assert callable(method.load())
    assert method.paper
    assert "\n" not in method.description
    if method.fuse:
        assert callable(method.load_fuse())


def test_methods_of_one_layer_cannot_fuse():
    with pytest.raises(MethodError, match="gradcam reads one layer"):
        METHODS["gradcam"].load_fuse()


@pytest.mark.parametrize(("cap", "forwards"), [(None, 6144), (64, 192), (5000, 6144)])
def test_scorecam_forwards(cap, forwards):
    assert scorecam_forwards(3, 2048, cap) == forwards


def test_public_names_resolve():
    import cxrkeras.cams as cams

    for name in cams.__all__:
        assert getattr(cams, name) is not None
    assert set(cams.__all__) <= set(dir(cams))
    with pytest.raises(AttributeError, match="no attribute 'GradCam'"):
        _ = cams.GradCam


def test_the_documented_table_is_the_registry_s():
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert f"a test compares -->\n{methods_table()}\n<!-- end -->" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ig_steps": "abc"}, "whole number"),
        ({"ig_steps": 0}, "whole number"),
        ({"layercam_gamma": -2}, "above 0"),
        ({"layercam_layers": []}, "list of one layer name"),
        ({"layercam_layers": "stride8"}, "list of one layer name"),
        ({"level_weights": [float("nan"), 1]}, "none negative and not all 0"),
        ({"level_weights": 5}, "one per layer"),
        ({"mask_layer": 3}, "layer name, or None"),
        ({"max_channels": True}, "whole number"),
        ({"normalize_alphas": "all"}, "None or positive"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused(given, words):
    with pytest.raises(MethodError, match=words):
        method_options(METHODS, given)


def test_every_option_has_a_check_that_its_default_passes():
    options = {name: value for method in METHODS.values() for name, value in method.defaults.items()}
    assert set(options) == set(CHECKS)
    check_values(options)
