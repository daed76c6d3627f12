"""The peers as calls without arguments: tf-keras-vis, xplique, and pytorch-grad-cam on a plain torch ResNet50V2.

Each is used as its documentation says, with a linear output and the layer named, so that no defect of a default is
timed. What is not installed raises ImportError when it is asked for, never before.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

BATCH = 8
_BLOCKS, _WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)

Calls = dict[str, Callable[[], Any]]


def tf_keras_vis_gradients(logits: keras.Model, films: np.ndarray, layer: str) -> Calls:
    """Its three gradient methods at native grid, nothing resized."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.layercam import Layercam
    from tf_keras_vis.utils.scores import CategoricalScore

    score = CategoricalScore([i % 2 for i in range(len(films))])
    settings = {"penultimate_layer": layer, "expand_cam": False, "normalize_cam": False}

    def call(engine: type) -> Callable[[], Any]:
        visualization = engine(logits)
        return lambda: visualization(score, films, **settings)

    return {f"tf-keras-vis {engine.__name__}": call(engine) for engine in (Gradcam, GradcamPlusPlus, Layercam)}


def tf_keras_vis_scorecam(logits: keras.Model, film: np.ndarray, layer: str) -> Callable[[], Any]:
    """Its full ScoreCAM of one film; it applies the softmax itself."""
    from tf_keras_vis.scorecam import Scorecam
    from tf_keras_vis.utils.scores import CategoricalScore

    visualization = Scorecam(logits)
    return lambda: visualization(CategoricalScore([0]), film, penultimate_layer=layer)


def xplique_gradients(logits: keras.Model, films: np.ndarray, layer: str) -> Calls:
    """GradCAM and GradCAM++; it always resizes its maps to the films."""
    from xplique.attributions import GradCAM, GradCAMPP

    classes = np.eye(2, dtype=np.float32)[np.arange(len(films)) % 2]

    def call(engine: type) -> Callable[[], Any]:
        explainer = engine(logits, conv_layer=layer, batch_size=len(films))
        return lambda: explainer(films, classes)

    return {f"xplique {engine.__name__}": call(engine) for engine in (GradCAM, GradCAMPP)}


def torch_gradients(side: int) -> Calls:
    """torch's own forward and pytorch-grad-cam's four methods on it, one call each, as its users have to."""
    import torch

    _stand_in_for_torchvision()
    from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    model = _torch_resnet50v2().eval()
    films = torch.rand(BATCH, 3, side, side)
    targets = [ClassifierOutputTarget(i % 2) for i in range(BATCH)]

    def forward() -> Any:
        with torch.inference_mode():
            return model(films)

    def call(engine: type) -> Callable[[], Any]:
        def explain() -> Any:
            # the hooks are taken off again, so that no engine slows the other's forward
            with engine(model=model, target_layers=[model.post]) as cam:
                return cam(input_tensor=films, targets=targets)

        return explain

    engines = (GradCAM, GradCAMPlusPlus, LayerCAM, EigenCAM)
    return {"torch forward": forward} | {f"pytorch-grad-cam {e.__name__}": call(e) for e in engines}


def _stand_in_for_torchvision() -> None:
    """pytorch-grad-cam imports torchvision for helpers that no CAM calls; where it is absent, empty names do."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
        modules = {name: types.ModuleType(name) for name in names}
        for helper in ("Compose", "Normalize", "ToTensor"):
            setattr(modules["torchvision.transforms"], helper, None)
        modules["torchvision.transforms.functional"].resize = None
        sys.modules.update(modules)


def _torch_resnet50v2() -> Any:
    """ResNet50V2 in torch, as Keras builds it: pre-activation bottlenecks, the stride in the last block of a stack."""
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, entering: int, width: int, stride: int, first: bool) -> None:
            super().__init__()
            self.before = nn.Sequential(nn.BatchNorm2d(entering), nn.ReLU())
            self.project = nn.Conv2d(entering, 4 * width, 1, stride) if first else None
            self.pool = nn.MaxPool2d(1, stride) if stride > 1 and not first else nn.Identity()
            self.residual = nn.Sequential(
                nn.Conv2d(entering, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, 4 * width, 1),
            )  # fmt: skip

        def forward(self, values):
            active = self.before(values)
            shortcut = self.pool(values) if self.project is None else self.project(active)
            return shortcut + self.residual(active)

    class ResNet50V2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
            entering = 64
            for stack, (count, width) in enumerate(zip(_BLOCKS, _WIDTHS, strict=True)):
                for block in range(count):
                    stride = 2 if block == count - 1 and stack < len(_BLOCKS) - 1 else 1
                    layers.append(Bottleneck(entering, width, stride, block == 0))
                    entering = 4 * width
            self.trunk = nn.Sequential(*layers)
            self.post = nn.Sequential(nn.BatchNorm2d(entering), nn.ReLU())
            self.head = nn.Linear(entering, 2)

        def forward(self, films):
            return self.head(self.post(self.trunk(films)).mean((2, 3)))

    return ResNet50V2()
