"""The recipes of a training by name, as the settings they fill in. Plain data; knows nothing of how they are used."""

from __future__ import annotations

from typing import Any

# section -> field -> value. ConVIRT's fine-tuning: Zhang et al. 2020, arXiv 2010.00747v2; they name no number of
# epochs, because their patience ends it.
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "finetune": {},
    "linear": {},
    "convirt": {
        "data": {"resize": "pad"},
        "model": {"dropout": 0.2},
        "training": {
            "epochs": (1, 100),
            "head_steps": 200,
            "batch_size": 64,
            "learning_rate": (1e-3, 1e-4),
            "weight_decay": 1e-6,
            "plateau": {"factor": 0.5, "patience": 3},
            "patience": 10,
            "keep": "best",
        },
    },
}


def recipe_epochs(recipe: str, epochs: tuple[int, int]) -> tuple[int, int]:
    """What a recipe makes of the epochs asked for: `linear` has no second stage, `convirt`'s first is one epoch."""
    first, second = epochs
    if recipe == "linear" and first:
        return first, 0
    if recipe == "convirt" and first + second:
        return 1, second
    return epochs
