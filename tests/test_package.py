"""The wheel: everything inside, nothing called `cli`, usable from any directory; and the files a reader meets first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (".py", ".yaml", ".html", ".css", ".js")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The wheel of this tree, built from a copy and unpacked."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in ("cxrkeras", "cli", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work / "dist"), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = (work / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "unpacked")
    return work / "unpacked"


def test_the_wheel_holds_every_module_and_configuration_and_no_module_called_cli(unpacked):
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"cxrkeras", "cxrkeras_cli", "cxrkeras_configs"}
    for folder, inside in (("cxrkeras", "cxrkeras"), ("cli", "cxrkeras_cli"), ("configs", "cxrkeras_configs")):
        theirs = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.suffix in SHIPPED}
        ours = {p.relative_to(unpacked / inside) for p in (unpacked / inside).rglob("*") if p.is_file()}
        assert theirs == ours


def test_the_wheel_works_from_any_directory(unpacked, tmp_path):
    script = (
        "import cxrkeras, cxrkeras_cli\n"
        "from cxrkeras.config import load_config, shipped\n"
        f"assert cxrkeras.__file__.startswith({str(unpacked)!r}), cxrkeras.__file__\n"
        "assert 'phantom' in shipped() and load_config('phantom').model.backbone == 'compact'\n"
        "from cxrkeras_cli.main import main\nmain(['config', 'show', 'kermany'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "backbone: DenseNet201" in shown.stdout


def test_the_citation_names_the_papers_and_the_version():
    from cxrkeras import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert {"arXiv:2604.08502", "arXiv:2604.08513"} <= {entry["notes"] for entry in citation["references"]}


def test_the_readme_holds_the_two_commands_and_its_picture():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- command: (\w+) -->\s*```bash\n(.*?)\n```", text, re.S))
    assert set(commands) == {"demo", "tests"}
    assert commands["demo"].endswith("cxrkeras demo")
    assert commands["tests"].endswith("pytest")
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (ROOT / picture).is_file()


def test_the_tree_is_ruff_clean():
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", str(ROOT)], check=True)
