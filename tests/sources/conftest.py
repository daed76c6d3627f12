"""One BLAS thread for these tests: their matrices are small, and so are those of the references they compare with."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread():
    """Leave the threads as they were afterwards."""
    with threadpool_limits(1, "blas"):
        yield
