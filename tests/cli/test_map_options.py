"""Options that make a map, as typed: sizes, settings of methods, and what does not go together."""

from __future__ import annotations

import click
import pytest
from cxrkeras_cli.options import Bytes, Setting, popped_map_settings

from cxrkeras.errors import MethodError


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("512M", 512 * 2**20), ("1G", 2**30), ("1.5 GiB", 3 * 2**29), ("64kb", 2**16)],
)
def test_sizes_are_read_in_powers_of_two(text, size):
    assert Bytes().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "0", "much", "-1G", "1T"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.BadParameter, match="is no size"):
        Bytes().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("ig_steps=100", ("ig_steps", 100)),
        ("weighting=softmax", ("weighting", "softmax")),
        ("level_weights=[1, 1, 2]", ("level_weights", [1, 1, 2])),
        ("layercam_gamma=1.5", ("layercam_gamma", 1.5)),
    ],
)
def test_settings_have_the_type_that_was_typed(text, setting):
    assert Setting().convert(text, None, None) == setting


def test_settings_that_no_method_has_are_refused_with_a_hint():
    with pytest.raises(MethodError, match="Did you mean 'ig_steps'"):
        Setting().convert("ig_step=1", None, None)
    with pytest.raises(click.BadParameter, match="is not NAME=VALUE"):
        Setting().convert("ig_steps", None, None)


def test_flags_of_scorecam_and_settings_arrive_together():
    options = {
        "given": (("weighting", "softmax"),), "max_channels": 64, "tolerance": None, "layer": "relu",
        "engine": "cxrkeras", "on": "margin", "memory_budget": None, "split": "test",
    }  # fmt: skip
    assert popped_map_settings(options) == {
        "given": {"weighting": "softmax", "max_channels": 64}, "layer": "relu", "engine": "cxrkeras", "on": "margin",
        "memory_budget": None,
    }  # fmt: skip
    assert options == {"split": "test"}
