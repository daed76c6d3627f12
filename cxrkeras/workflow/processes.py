"""What a worker process does before its work. Imports nothing: it runs before TensorFlow is loaded."""

from __future__ import annotations

import os


def silence() -> None:
    """Send what native libraries print while they load to nowhere; results and errors come back as values."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
