"""Shared by all tests: quiet TensorFlow, a cache of the session's own, phantom films, one trained run, real films."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
if "PYTEST_XDIST_WORKER" in os.environ:
    # processes that share the cores would each start a thread a core
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, CORES // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))))

# tracing leaves many objects that stay; looking through them at every 700 new ones is a fiftieth of the suite's time
gc.set_threshold(20_000, 10, 10)

ROOT = Path(__file__).resolve().parents[1]
# each builds the nets and runs of the session's fixtures for itself
MOST_PROCESSES = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite; none beside pytest's own for a file or folder that somebody names."""
    whole = all(Path(argument).resolve() in (ROOT, ROOT / "tests") for argument in config.args)
    return min(MOST_PROCESSES, CORES) if whole and CORES > 1 else 0


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that starts empty and goes with the session."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CXRKERAS_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def real_films() -> Path:
    """The folder of real films; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CXRKERAS_DATA", ROOT / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real films at {folder}; set CXRKERAS_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty phantom films of two classes at 64 px, with a manifest."""
    from cxrkeras.data.phantom import generate_phantom

    return generate_phantom(tmp_path_factory.mktemp("phantom") / "films", films=80, classes=2, seed=3, size=64).parent


TINY = {
    "backbone": "compact",
    "weights": "random",
    "image_size": 64,
    "epochs": (2, 2),
    "checkpoint_every": 1,
    "batch_size": 16,
    "learning_rate": (1e-3, 1e-3),
    "batch_norm": "train",
}


@pytest.fixture(scope="session")
def tiny_settings() -> dict:
    """Settings of a training that takes seconds."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path):
    """A complete run of `compact` on phantom films: epochs 1 to 4, a checkpoint each. Do not change it."""
    from cxrkeras.workflow.train import train

    return train(data=phantom_folder, run=tmp_path_factory.mktemp("runs") / "tiny", **TINY)


@pytest.fixture
def run_copy(tiny_run, tmp_path: Path):
    """A copy of the tiny run that a test may spoil."""
    import shutil

    from cxrkeras.run import Run

    shutil.copytree(tiny_run.path, tmp_path / "copy")
    return Run(tmp_path / "copy")


@pytest.fixture(scope="session")
def lent_nets():
    """A context in which finished runs are opened with the nets, and what is compiled for them, of earlier contexts.

    No two runs that are opened in one context share a net. It comes with its first weights, and explainers are kept by
    all that changes their maps, so that a run finds nothing of another; tracing is most of what such a test costs.
    """
    import contextlib
    from collections import defaultdict
    from functools import cached_property

    from cxrkeras.workflow.opened import OpenRun

    build, spare = OpenRun.classifier.func, defaultdict(list)

    @contextlib.contextmanager
    def context():
        lent = []

        def classifier(opened: OpenRun):
            # a training starts from the weights that its seed draws, and trains what it is given
            if opened.run.state != "complete":
                return build(opened)
            facts = [opened.run.info.get(name) for name in ("preprocessing", "precision", "activation")]
            key = repr((opened.config.model, opened.config.training.seed, opened.classes, facts))
            if not spare[key]:
                net = build(opened)
                spare[key].append((net, net.model.get_weights(), {}))
            net, first, opened._explainers = spare[key].pop()
            net.model.set_weights(first)
            lent.append((key, (net, first, opened._explainers)))
            return net

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OpenRun, "classifier", cached_property(classifier))
            OpenRun.classifier.__set_name__(OpenRun, "classifier")
            yield
        for key, net in lent:
            spare[key].append(net)

    return context


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of two convolutions at strides 2 and 4, which a step compiles for in no time."""
    import sys
    import types

    import keras

    from cxrkeras.models.backbones import BACKBONES, Backbone

    def build(include_top: bool, weights: None, input_tensor: keras.KerasTensor) -> keras.Model:
        (films,) = keras.utils.get_source_inputs(input_tensor)
        tensor = input_tensor
        for stride in (2, 4):
            tensor = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"conv{stride}")(tensor)
            tensor = keras.layers.BatchNormalization(momentum=0.5, name=f"norm{stride}")(tensor)
            tensor = keras.layers.ReLU(name=f"relu{stride}")(tensor)
        return keras.Model(films, tensor)

    module = types.ModuleType("tiny_backbone")
    module.build = build
    monkeypatch.setitem(sys.modules, module.__name__, module)
    strides = {"stride2": "relu2", "stride4": "relu4"}
    row = Backbone("tiny", "tiny_backbone.build", 32, "tf", "relu4", strides, 4, None)
    monkeypatch.setitem(BACKBONES, row.name, row)
    return row.name
