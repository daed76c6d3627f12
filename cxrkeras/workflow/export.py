"""Export: one checkpoint as a plain Keras model that needs no cxrkeras to load."""

from __future__ import annotations

from pathlib import Path

from cxrkeras.errors import RunError, UsageError
from cxrkeras.store import atomic_path
from cxrkeras.workflow.opened import OpenRun


def export(opened: OpenRun, epoch: int, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the classifier after `epoch` as a `.keras` file.

    The file takes films ``[n, H, W, 3]`` in 0..255 (grey repeated to three channels), carries its own preprocessing,
    and answers with probabilities in the order of the run's classes.

    Raises:
        UsageError: the name does not end in `.keras`.
        RunError: the file exists and `overwrite` is false.
    """
    out = Path(out)
    if out.suffix != ".keras":
        raise UsageError(f"'{out}' does not end in .keras. Expected a name such as model.keras.")
    if out.exists() and not overwrite:
        raise RunError(f"{out} exists. Choose another --out, or add --overwrite.")
    opened.load(epoch)
    with atomic_path(out) as partial:
        opened.classifier.model.save(partial)
    return out
