"""A run to work on: each test has its own copy on disk, and all share what is compiled for it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def nets_of_the_module(lent_nets):
    """Every run that a module's fixtures open may use what an earlier module compiled."""
    with lent_nets():
        yield


@pytest.fixture(autouse=True)
def nets_of_the_test(nets_of_the_module, lent_nets):
    """Every run that a test opens may use what an earlier test compiled."""
    with lent_nets():
        yield


@pytest.fixture(scope="session")
def compiled(tiny_run):
    """The tiny run, opened once for its classifier and explainers; only `opened` may use it."""
    from cxrkeras.workflow.opened import OpenRun

    return OpenRun(tiny_run)


@pytest.fixture
def opened(run_copy, compiled):
    """A copy of the tiny run, opened; nothing is loaded yet."""
    from cxrkeras.workflow.opened import OpenRun

    copy = OpenRun(run_copy)
    # weights are loaded anew and explainers kept by all that changes their maps, so a test sees none before it
    copy.classifier, copy._explainers = compiled.classifier, compiled._explainers
    return copy
