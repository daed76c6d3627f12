"""The examples in the docstrings run and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import cxrkeras.localization as localization

MODULES = [
    localization.__name__,
    *(m.name for m in pkgutil.iter_modules(localization.__path__, "cxrkeras.localization.")),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
