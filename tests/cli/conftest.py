"""The command line as a user types it, for every test of it."""

from __future__ import annotations

import pytest
from cxrkeras_cli.main import main


@pytest.fixture
def cx(capsys, monkeypatch, tmp_path, lent_nets):
    """Run a command in an empty directory: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with lent_nets(), pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run
