"""cxrkeras: train chest X-ray classifiers, explain every checkpoint, measure whether the explanations can be trusted.

Importing this loads no Keras; each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cxrkeras._version import __version__

if TYPE_CHECKING:
    from cxrkeras.api import evaluate, explain, score, train
    from cxrkeras.config import Config, load_config
    from cxrkeras.consistency import ConsistencyScore, c_score
    from cxrkeras.errors import CxrKerasError
    from cxrkeras.maps import Maps
    from cxrkeras.run import Run

_HOMES = {
    "train": "cxrkeras.api",
    "explain": "cxrkeras.api",
    "score": "cxrkeras.api",
    "evaluate": "cxrkeras.api",
    "c_score": "cxrkeras.consistency",
    "ConsistencyScore": "cxrkeras.consistency",
    "Run": "cxrkeras.run",
    "Maps": "cxrkeras.maps",
    "Config": "cxrkeras.config",
    "load_config": "cxrkeras.config",
    "CxrKerasError": "cxrkeras.errors",
}

__all__ = [
    "Config",
    "ConsistencyScore",
    "CxrKerasError",
    "Maps",
    "Run",
    "__version__",
    "c_score",
    "evaluate",
    "explain",
    "load_config",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cxrkeras' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
