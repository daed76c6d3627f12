"""Class activation maps: one traced forward serves every method; importing this package loads no TensorFlow.

The public names are resolved on first use, so that `cams.registry` stays importable by the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cxrkeras.cams.registry import METHODS, Method, method_names, scorecam_forwards

if TYPE_CHECKING:
    from cxrkeras.cams.dropin.visualization import (
        EigenCAM,
        GradCAM,
        Gradcam,
        GradCAMPlusPlus,
        GradcamPlusPlus,
        LayerCAM,
        Layercam,
        MSGradCAMPlusPlus,
        ScoreCAM,
        Scorecam,
    )
    from cxrkeras.cams.engine import Explainer, explain_all
    from cxrkeras.cams.results import Explanation, MethodResult

_DROP_INS = (
    "EigenCAM", "GradCAM", "Gradcam", "GradCAMPlusPlus", "GradcamPlusPlus", "LayerCAM", "Layercam",
    "MSGradCAMPlusPlus", "ScoreCAM", "Scorecam",
)  # fmt: skip
_HOMES = {
    "Explainer": "engine",
    "explain_all": "engine",
    "Explanation": "results",
    "MethodResult": "results",
    **dict.fromkeys(_DROP_INS, "dropin.visualization"),
}

__all__ = [
    "METHODS",
    "EigenCAM",
    "Explainer",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradcam",
    "GradcamPlusPlus",
    "LayerCAM",
    "Layercam",
    "MSGradCAMPlusPlus",
    "Method",
    "MethodResult",
    "ScoreCAM",
    "Scorecam",
    "explain_all",
    "method_names",
    "scorecam_forwards",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
