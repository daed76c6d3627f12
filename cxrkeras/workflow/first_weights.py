"""First weights of a classifier: from ImageNet, a file, the checkpoint of a run, or as they were drawn.

Shared by training and by the comparison of weight sources; trains nothing.
"""

from __future__ import annotations

from cxrkeras.errors import WeightsError
from cxrkeras.models.classifier import Classifier
from cxrkeras.models.weights import WeightSource, load_file, load_imagenet, weights_hash
from cxrkeras.run import Run


def source_run(source: WeightSource, backbone: str | None) -> Run | None:
    """The run that a `run:` source names; None for every other source.

    Args:
        source: the parsed weights.
        backbone: the backbone they are for; None takes the run's own.

    Raises:
        RunError: there is no such run.
        WeightsError: it trained another backbone.
    """
    if source.kind != "run":
        return None
    origin = Run.open(source.value)
    theirs = origin.config.model.backbone
    if backbone is not None and theirs != backbone:
        raise WeightsError(
            f"run {origin.name} trained {theirs}, which does not fit {backbone}. "
            f"Use --backbone {theirs}, or another weight source."
        )
    return origin


def load_first_weights(classifier: Classifier, source: WeightSource, origin: Run | None) -> str:
    """Fill the backbone from a source and return the SHA-256 of the file, or of the weights that were drawn.

    Args:
        classifier: its backbone is filled; its head stays as it is.
        source: the parsed weights.
        origin: the run of a `run:` source, see `source_run`.

    Raises:
        WeightsError, CheckpointError: the weights are missing, broken, or of another network.
    """
    if origin is not None:
        return load_file(classifier, origin.checkpoint_path(origin.resolve_epoch(source.epoch)))
    if source.kind == "file":
        return load_file(classifier, source.value)
    if source.kind == "imagenet":
        return load_imagenet(classifier)
    return weights_hash(classifier)
