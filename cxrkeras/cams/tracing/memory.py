"""How much memory a forward takes, read from its graph, and how many masked films fit in a budget.

Knows no method; an estimate, because the executor decides the order of the operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

DEFAULT_BUDGET = 2**30
# measured: 32 films reach the best throughput of a CPU, more only take memory
LARGEST_PACK = 32
# convolutions copy into layouts of their own and branches run at the same time: measured, 1.05 to 1.25 times the figure
# of the graph for ResNet50V2, DenseNet121 and InceptionV3
WORKSPACE = 1.5
# operations whose output is their input's buffer
_ALIASES = {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient"}


def films_within(budget: int, film_bytes: int) -> int:
    """Masked films per forward that keep it within a budget: 1 at least, `LARGEST_PACK` at most.

    Args:
        budget: bytes.
        film_bytes: bytes of one masked film, as `masked_film_bytes` estimates them.
    """
    return max(1, min(LARGEST_PACK, budget // max(1, film_bytes)))


def masked_film_bytes(films: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]) -> int:
    """Estimate what one film takes in a masked forward: its largest set of activations, its masks and copies.

    Args:
        films: symbolic inputs ``[n, …]`` of a traced model, n known.
        outputs: its symbolic outputs.
    """
    own = 0
    for one in films:
        if one.shape.rank == 4:
            height, width, channels = (int(side) for side in one.shape[1:])
            # the film, its masked copy, and the mask before, during and after min-max
            own += 4 * height * width * (2 * channels + 3)
    return int(own + WORKSPACE * live_bytes(films, outputs) / int(films[0].shape[0]))


def live_bytes(inputs: Iterable[tf.Tensor], outputs: Iterable[tf.Tensor]) -> int:
    """The largest total of tensors alive at one time, in bytes, when a graph runs in the order it was traced.

    A tensor lives from its operation to the last that reads it. Weights and whatever else does not depend on the inputs
    are left out.

    Args:
        inputs: symbolic tensors that the graph is fed.
        outputs: what it computes.
    """
    fed = {tensor.op.name for tensor in inputs}
    operations = _between(fed, [tensor.op for tensor in outputs])
    place = {operation.name: i for i, operation in enumerate(operations)}
    last_read = list(range(len(operations)))
    for operation in reversed(operations):
        # an alias keeps the buffer it shows alive as long as it is read itself
        reader = place[operation.name]
        until = last_read[reader] if operation.type in _ALIASES else reader
        for source in operation.inputs:
            if source.op.name in place:
                source_place = place[source.op.name]
                last_read[source_place] = max(last_read[source_place], until)
    ending: dict[int, int] = {}
    alive = most = 0
    for i, operation in enumerate(operations):
        if operation.type not in _ALIASES:
            size = sum(_bytes(tensor) for tensor in operation.outputs)
            alive += size
            ending[last_read[i]] = ending.get(last_read[i], 0) + size
        most = max(most, alive)
        alive -= ending.pop(i, 0)
    return most


def _between(fed: set[str], ends: list[tf.Operation]) -> list[tf.Operation]:
    """Operations on the way from the inputs to the ends, in the order they were traced."""
    wanted, pending = {end.name for end in ends}, list(ends)
    while pending:
        for source in pending.pop().inputs:
            if source.op.name not in wanted and source.op.name not in fed:
                wanted.add(source.op.name)
                pending.append(source.op)
    reached, operations = set(fed), []
    for operation in ends[0].graph.get_operations():
        if operation.name in wanted and any(source.op.name in reached for source in operation.inputs):
            reached.add(operation.name)
            operations.append(operation)
    return operations


def _bytes(tensor: tf.Tensor) -> int:
    """Size of a tensor; 0 where the graph does not know it."""
    return (tensor.shape.num_elements() or 0) * (tensor.dtype.size or 0)
