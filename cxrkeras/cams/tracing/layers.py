"""From a layer's role or name to the tensor that carries a map, in any traced model.

Roles: `head_input` (the tensor that enters the last global pooling), `last_conv`, `strideN` (the last and widest
activated tensor whose grid is the input's over N). Knows no method and no target class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from cxrkeras.cams.tracing.pooling import Pooling, cell_by_cell, forms, global_pooling, upstream
from cxrkeras.cams.tracing.probe import LayerCall, Trace
from cxrkeras.errors import LayerError, did_you_mean

ROLES = ("head_input", "last_conv", "stride8", "stride16", "stride32")
STRIDE_TOLERANCE = 0.75

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)
_ACTIVATION_LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU)
_ACTIVATION_OPS = {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Sigmoid", "Tanh"}
_SHAPE_OPS = {"Identity", "IdentityN", "Cast", "MaxPool", "AvgPool"}


@dataclass(frozen=True)
class Tap:
    """A tensor to make maps from.

    Attributes:
        name: layer name, with the enclosing models where the layer is nested (`base/relu`).
        tensor: symbolic ``[n, h, w, K]``.
    """

    name: str
    tensor: tf.Tensor

    @property
    def grid(self) -> tuple[int, int]:
        """Grid ``(h, w)``."""
        return int(self.tensor.shape[1]), int(self.tensor.shape[2])


Wanted = str | keras.layers.Layer | Callable[[Trace], Tap]


def tap(trace: Trace, wanted: Wanted) -> Tap:
    """Find the tensor of a role or layer name.

    Args:
        trace: a traced model.
        wanted: a role, a layer name, a path `outer/inner` for a layer of a nested model, the layer itself, or
            a function that finds the tap.

    Raises:
        LayerError: no such layer, one that is called twice, or one whose output has no grid.
    """
    if isinstance(wanted, keras.layers.Layer):
        return _own_tap(trace, wanted)
    if callable(wanted):
        return wanted(trace)
    if wanted == "head_input":
        return _head_input(trace)
    if wanted == "last_conv":
        return _last_conv(trace)
    stride = re.fullmatch(r"stride([1-9]\d*)", wanted)
    named = _named(trace, wanted)
    if stride and not named:
        return _at_stride(trace, int(stride[1]))
    if not named:
        raise _no_such_layer(trace, wanted)
    return _single(trace, wanted, named)


def _own_tap(trace: Trace, layer: keras.layers.Layer) -> Tap:
    found = [call for call in trace.calls if call.layer is layer]
    if not found:
        raise LayerError(
            f"layer '{layer.name}' is not called by {trace.model}. Expected one of its own layers, such as: "
            f"{_candidates(trace)}."
        )
    return _single(trace, "/".join(found[0].path), found)


def _named(trace: Trace, wanted: str) -> list[LayerCall]:
    path = tuple(wanted.split("/"))
    exact = [call for call in trace.calls if call.path == path]
    return exact or [call for call in trace.calls if call.path[-len(path) :] == path]


def _single(trace: Trace, wanted: str, found: list[LayerCall]) -> Tap:
    if len({id(call.layer) for call in found}) > 1:
        paths = sorted({"/".join(call.path) for call in found})
        raise LayerError(
            f"layer '{wanted}' is ambiguous in {trace.model}: {len(paths)} layers have that name. "
            f"Expected one of: {', '.join(paths)}."
        )
    if len(found) > 1:
        raise LayerError(
            f"layer '{wanted}' is called {len(found)} times in {trace.model}, so it has no single map. "
            f"Expected a layer that is called once, such as: {_candidates(trace)}."
        )
    outputs = found[0].outputs
    if len(outputs) != 1 or not _has_grid(outputs[0]):
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs) or "no tensor of the model's graph"
        raise LayerError(
            f"layer '{wanted}' of {trace.model} cannot carry a map. Expected one output of shape [n, h, w, channels]; "
            f"received {shapes}. Layers that can: {_candidates(trace)}."
        )
    return Tap("/".join(found[0].path), outputs[0])


def _head_input(trace: Trace) -> Tap:
    ends = trace.answers if trace.wanted is None else (trace.chosen,)
    pooling = global_pooling([answer.output for answer in ends])
    if pooling is not None:
        return _entering(trace, pooling)
    # without a pooling the output itself may be a grid; a map of the answer would explain nothing
    answers = [form.name for answer in ends for tensor in (answer.output, answer.raw_logits) for form in forms(tensor)]
    activated = [t for t in _activated_grids(trace) if t.tensor.name not in answers]
    if activated:
        return activated[-1]
    raise LayerError(
        f"{trace.model} has no layer that can carry a map. Expected a global pooling, a Flatten or an activated layer "
        f"with output [n, h, w, channels]; received {len(trace.calls)} layers without one."
    )


def _entering(trace: Trace, pooling: Pooling) -> Tap:
    """What enters a pooling: a layer's output if it is one, or else what the pooling layer was given."""
    grids = {t.tensor.name: t for t in _grids(trace)}
    for form in forms(pooling.entering):
        if form.name in grids:
            return grids[form.name]
    given = next((call for call in trace.calls if _pools(trace, call, pooling)), None)
    if given is None:
        return Tap(f"input of {pooling.operation.type}", pooling.entering)
    tensor = given.inputs[0]
    return grids.get(tensor.name, Tap(f"input of {'/'.join(given.path)}", tensor))


def _pools(trace: Trace, call: LayerCall, pooling: Pooling) -> bool:
    """Whether a layer without layers of its own makes this pooling, of nothing but its input."""
    if len(call.inputs) != 1 or not _has_grid(call.inputs[0]):
        return False
    depth = len(call.path)
    if any(len(other.path) > depth and other.path[:depth] == call.path for other in trace.calls):
        return False
    return cell_by_cell(call.inputs[0], pooling.entering) and pooling.operation.name in upstream(call.outputs)


def _last_conv(trace: Trace) -> Tap:
    found = [call for call in trace.calls if isinstance(call.layer, _CONVOLUTIONS)]
    if not found:
        raise LayerError(
            f"{trace.model} has no convolution, so no 'last_conv'. Expected a role or a layer name; "
            f"layers that can carry a map: {_candidates(trace)}."
        )
    return _single(trace, "/".join(found[-1].path), [c for c in found if c.layer is found[-1].layer])


def _at_stride(trace: Trace, stride: int) -> Tap:
    """The head's input where it has that stride; else the widest activated tensor there, the last of equals.

    Widest, because the narrow tensors inside a bottleneck or an inception branch see only part of the features.
    """
    side = int(trace.films.shape[1])
    available = _activated_grids(trace)
    head = _head_input(trace)
    off = {t.grid: abs(math.log2(side / t.grid[0]) - math.log2(stride)) for t in (*available, head)}
    grid = min(off, key=lambda grid: (off[grid], grid))
    if off[grid] > STRIDE_TOLERANCE:
        raise LayerError(
            f"{trace.model} has no activated layer at stride {stride} for a {side}-pixel input. "
            f"Expected a stride that exists or three layer names; layers that can carry a map: {_candidates(trace)}."
        )
    if head.grid == grid:
        return head
    level = [t for t in available if t.grid == grid]
    widest = max(t.tensor.shape[-1] for t in level)
    return [t for t in level if t.tensor.shape[-1] == widest][-1]


def _grids(trace: Trace) -> list[Tap]:
    """Every single-output rank-4 layer output, in order of execution, each tensor once under its first name."""
    seen: dict[str, Tap] = {}
    for call in trace.calls:
        if len(call.outputs) == 1 and _has_grid(call.outputs[0]):
            seen.setdefault(call.outputs[0].name, Tap("/".join(call.path), call.outputs[0]))
    return list(seen.values())


def _activated_grids(trace: Trace) -> list[Tap]:
    by_layer = {c.outputs[0].name for c in trace.calls if c.outputs and _activates(c.layer)}
    return [t for t in _grids(trace) if _is_activated(t.tensor, by_layer)]


def _has_grid(tensor: tf.Tensor) -> bool:
    return tensor.shape.rank == 4 and None not in tuple(tensor.shape[1:])


def _is_activated(tensor: tf.Tensor, by_layer: set[str]) -> bool:
    """Whether a non-linearity came last on the way to this tensor, concatenation and pooling looked through."""
    kind, inputs = tensor.op.type, tensor.op.inputs
    if tensor.name in by_layer or kind in _ACTIVATION_OPS:
        return True
    if kind in _SHAPE_OPS and inputs:
        return _is_activated(inputs[0], by_layer)
    # the last input of a ConcatV2 is its axis
    return kind == "ConcatV2" and all(_is_activated(part, by_layer) for part in list(inputs)[:-1])


def _activates(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, _ACTIVATION_LAYERS):
        return True
    activation = getattr(layer, "activation", None)
    return callable(activation) and activation is not keras.activations.linear


def _candidates(trace: Trace) -> str:
    """The last activated layer at each grid, finest first, as `name h×w`."""
    last = {t.grid: t for t in _activated_grids(trace)}
    return ", ".join(f"{t.name} {t.grid[0]}×{t.grid[1]}" for t in last.values()) or "none"


def _no_such_layer(trace: Trace, wanted: str) -> LayerError:
    known = [*ROLES, *("/".join(call.path) for call in trace.calls), *(call.name for call in trace.calls)]
    return LayerError(
        f"layer '{wanted}' is not in {trace.model}. Expected a role ({', '.join(ROLES)}) or a layer name, "
        f"such as: {_candidates(trace)}.{did_you_mean(wanted, known)}"
    )
