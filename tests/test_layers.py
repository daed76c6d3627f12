"""The house keeps its arrows: what may import what, who knows gradients, files, pictures and the screen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "cxrkeras").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])

# A room may import the rooms below it, and its own.
LEVELS = [
    {"errors", "_version", "events", "recipes", "settings"},
    {"store", "config", "maps", "stats"},
    {"tables", "probe"},
    {"run_paths"},
    {"run", "render", "data", "kernels"},
    {"models", "study"},
    {"cams", "consistency", "drift", "faithfulness", "localization", "robustness", "sources", "training"},
    {"report"},
    {"workflow"},
    {"api"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
PURE = {
    "maps",
    "stats",
    "consistency",
    "errors",
    "events",
    "recipes",
    "store",
    "config",
    "settings",
    "tables",
    "run_paths",
    "run",
    "study",
    "drift",
    "faithfulness",
    "localization",
    "probe",
    "report",
    "robustness",
    "sources",
}
NO_TENSORFLOW = {"tensorflow", "keras", "tf_keras_vis"}


def room_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return "cli" if parts[0] == "cli" else parts[1]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written in full"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", [f for f in FILES if f.name != "__init__.py" or f.parent.name != "cxrkeras"], ids=str)
def test_imports_point_down(file):
    room = room_of(file)
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "cxrkeras" and len(parts) > 1:
            other = parts[1]
        elif parts[0] == "cxrkeras_cli":
            other = "cli"
        else:
            continue
        assert other == room or LEVEL[other] < LEVEL[room], f"{file}: {room} may not import {name}"


def test_every_room_has_its_place():
    rooms = {room_of(file) for file in FILES} - {"__init__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_metrics_know_no_tensorflow_and_only_render_draws(file):
    heads = {name.split(".")[0] for name in imports(file)}
    if room_of(file) in PURE:
        assert not heads & NO_TENSORFLOW
    if room_of(file) != "render":
        assert "matplotlib" not in heads


@pytest.mark.parametrize("file", [f for f in FILES if room_of(f) != "cli"], ids=str)
def test_only_the_command_line_prints(file):
    calls = [node.func for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("file", [f for f in FILES if room_of(f) != "cams"], ids=str)
def test_only_cams_knows_gradients(file):
    text = file.read_text(encoding="utf-8")
    assert "GradientTape" not in text
    assert "tf.gradients" not in text


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_says_what_it_is_for(file):
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def test_what_needs_no_network_loads_no_tensorflow():
    """One interpreter for all of it, the lightest first: a start costs more than what it proves."""
    script = """
import sys
HEAVY = {"tensorflow", "keras", "tf_keras_vis", "matplotlib"}
for statement in (
    "import cxrkeras",
    "from cxrkeras import Maps, Run, load_config",
    "import cxrkeras.cams, cxrkeras.cams.registry",
    "from cxrkeras.data import check, films, images, layouts, manifest, patients, splits",
    "import cxrkeras.consistency",
    "from cxrkeras import c_score",
):
    exec(statement)
    assert not HEAVY & set(sys.modules), statement
import cxrkeras.render.figures
assert not (HEAVY - {"matplotlib"} | {"matplotlib.pyplot"}) & set(sys.modules), "figures"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
