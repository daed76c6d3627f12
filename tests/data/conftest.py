"""Small films on disk and tables about them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def write_films(tmp_path):
    """Write one tiny PNG with its own bytes per path below `tmp_path`; returns the folder."""

    def write(*paths, size=(4, 4)):
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(list(path.encode())).integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(file)
        return tmp_path

    return write


@pytest.fixture
def write_table(tmp_path):
    """Write a CSV of the given columns below `tmp_path`; returns its path."""

    def write(columns, name="manifest.csv"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_csv(file, index=False)
        return file

    return write
