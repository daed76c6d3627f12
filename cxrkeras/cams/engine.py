"""The engine: one traced forward that gives logits, probabilities and the maps of every gradient and activation method.

Only the head is differentiated: the gradient stops at the tapped layer. ScoreCAM takes its features from the same
forward. Knows no file, no run and no backbone; the last batch is padded, so one trace serves any number of batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams import integrated
from cxrkeras.cams.batches import FilmBatch, as_batches, regrouped
from cxrkeras.cams.hosted import Hosted, own_errors
from cxrkeras.cams.inputs import Kind, check_fit, input_shapes, kinds, padded
from cxrkeras.cams.plan import MULTISCALE_LAYERS, ON, Modifier, Plan
from cxrkeras.cams.prepared import Prepared, prepared
from cxrkeras.cams.progress import ForwardCounter, Progress
from cxrkeras.cams.registry import method_names, method_options
from cxrkeras.cams.results import Explanation, MethodResult, concatenated, method_result
from cxrkeras.cams.scorecam.masked_films import MaskedFilms
from cxrkeras.cams.scores import ScoreFunction, Scores
from cxrkeras.cams.tracing.layers import Wanted
from cxrkeras.cams.tracing.probe import called
from cxrkeras.errors import DataError, MethodError, TargetError, unknown


class Explainer:
    """A model compiled once for a set of methods, to be used for any number of films and checkpoints.

    The weights are read at every call: load others into the model and explain again, without a new trace. The mean and
    variance of a Normalization layer are constants of the trace: where they have changed, the model is traced again.

    After `prepare`, and after each batch, `layers`, `channels`, `pack_size` and `units` are those of the shape in use.

    Example:
        >>> explainer = Explainer(model, "gradcam,layercam")                      # doctest: +SKIP
        >>> explanation = explainer.explain(films, targets)                       # doctest: +SKIP
        >>> explanation["gradcam"].values.shape, explanation.probabilities.shape  # doctest: +SKIP
        ((8, 7, 7), (8, 2))

    Args:
        model: any Keras model from films ``[n, H, W, C]``, and other inputs if it has them, to one score per class; it
            is not changed.
        methods: `all`, a comma list or names.
        layer: role (`head_input`, `last_conv`, `stride8`, …), layer name, `outer/inner` for a nested one, or the layer.
        multiscale_layers: three or more of the same for ms-gradcam++, finest first; None for strides 8, 16, 32.
        batch_size: films per forward.
        memory_budget: bytes that ScoreCAM's masked films may take at a time, None for 1 GiB; sets `pack_size`.
        pack_size: masked films per ScoreCAM forward, None for as many as the budget allows; it does not change the
            maps.
        on: what is differentiated: `logit` z_c, `probability` p_c, or `margin` z_c − log Σ_{j≠c} e^{z_j}.
        seed: of ScoreCAM's draw where channels are capped.
        classes: class names, for messages.
        output: index or name of the output that targets refer to; needed where the model has several and no `score`.
        score: in place of a target class, a function of the model's logits (for ScoreCAM its probabilities)
            ``[batch_size, units]`` with one value per film, or a tuple of one per output, whose values are added. It
            runs eagerly; every batch has to be full.
        training: run the model in training mode; its weights and moving statistics stay as they are. The masked
            forwards of ScoreCAM are always in inference mode.
        gradient_modifier: applied to the gradients before the method, in place of LayerCAM's own ReLU of them.
        rectify: replaces the ReLU that ends every method.
        unconnected_gradients: `NONE` for an error at a layer that the scores do not depend on, `ZERO` for a zero map.
        options: options of the methods, see `registry.METHODS`.

    Raises:
        MethodError: an unknown method or option.
    """

    def __init__(
        self,
        model: keras.Model,
        methods: str | Iterable[str] = "all",
        *,
        layer: Wanted = "head_input",
        multiscale_layers: Sequence[Wanted] | None = None,
        batch_size: int = 16,
        memory_budget: int | None = None,
        pack_size: int | None = None,
        on: str = "logit",
        seed: int = 0,
        classes: Sequence[str] | None = None,
        output: int | str | None = None,
        score: ScoreFunction | Sequence[ScoreFunction] | None = None,
        training: bool = False,
        gradient_modifier: Modifier | None = None,
        rectify: Modifier | None = None,
        unconnected_gradients: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
        **options: Any,
    ) -> None:
        if on not in ON:
            raise unknown("on", str(on), ON, MethodError)
        sizes = {"batch_size": batch_size, "memory_budget": memory_budget, "pack_size": pack_size}
        for name, size in sizes.items():
            if size is not None and (size < 1 or int(size) != size):
                raise MethodError(f"{name} has to be a whole number of 1 or more; received {size}.")
        known = {one.value: one for one in tf.UnconnectedGradients}
        word = getattr(unconnected_gradients, "value", unconnected_gradients)
        if word not in known:
            raise unknown("unconnected_gradients", str(word), known, MethodError)
        unconnected = known[word]
        may_be_unconnected = unconnected is tf.UnconnectedGradients.ZERO
        self.methods = method_names(methods)
        self.batch_size, self.traces = int(batch_size), 0
        self._plan = Plan(
            methods=self.methods,
            options=method_options(self.methods, options),
            layer=layer,
            multiscale=MULTISCALE_LAYERS if multiscale_layers is None else tuple(multiscale_layers),
            on=on,
            seed=int(seed),
            output=output,
            training=bool(training),
            score=None if score is None else Scores((score,) if callable(score) else score, may_be_unconnected),
            gradient_modifier=gradient_modifier,
            rectify=rectify,
            unconnected=unconnected,
        )
        self._hosted = [one for one in (self._plan.score, gradient_modifier, rectify) if isinstance(one, Hosted)]
        if "ig" in self.methods and score is not None:
            raise MethodError("ig explains a class. Expected targets; received a score function.")
        self._model = model
        self._classes = None if classes is None else tuple(classes)
        self._ready: dict[tuple[Kind, ...], Prepared] = {}
        self._in_use: Prepared | None = None
        self._masked: MaskedFilms | None = None
        if self._plan.has_forward_method:
            self._masked = MaskedFilms(model, self._plan, pack_size, memory_budget)

    @property
    def layers(self) -> Mapping[str, str]:
        """Tapped layer of each method, a comma list where it reads several; empty before `prepare`."""
        return {} if self._in_use is None else self._in_use.layers

    @property
    def units(self) -> int:
        """Units of the output that targets refer to, known after `prepare`; 0 where functions score several."""
        return 0 if self._in_use is None else self._in_use.units

    @property
    def channels(self) -> int | None:
        """Channels of the layer that ScoreCAM reads, known after `prepare`; None without ScoreCAM."""
        return None if self._in_use is None else self._in_use.channels

    @property
    def pack_size(self) -> int | None:
        """Masked films per ScoreCAM forward, as given or, after `prepare`, as the budget allows; None without it."""
        if self._in_use is not None:
            return self._in_use.pack_size
        return None if self._masked is None else self._masked.given_pack_size

    def prepare(
        self, image_shape: Sequence[int] | Sequence[Sequence[int]], dtypes: Sequence[str] | None = None
    ) -> None:
        """Trace the model for films of one shape ``(H, W, C)``; afterwards `layers`, `channels` and `units` are known.

        Args:
            image_shape: of the films, or one shape for each of the model's inputs.
            dtypes: of the inputs, None for float32.

        Raises:
            LayerError: a layer that the model does not have or that cannot carry a map.
            DataError: films that do not fit the model's input.
            TargetError: a model with several outputs, none of them chosen.
        """
        shapes = input_shapes(image_shape)
        self._prepared(tuple(zip(shapes, dtypes or ["float32"] * len(shapes), strict=True)))

    def _prepared(self, wanted: tuple[Kind, ...]) -> Prepared:
        if wanted not in self._ready or not self._ready[wanted].statistics.hold:
            check_fit(self._model, [shape for shape, _ in wanted])
            if not self._model.built:
                called(self._model, [np.zeros((1, *shape), dtype) for shape, dtype in wanted])
            self.traces += 1
            self._ready[wanted] = prepared(self._model, self._plan, self._masked, wanted, self.batch_size)
        self._in_use = self._ready[wanted]
        return self._in_use

    def explain(
        self, films: Any, targets: Any = None, ids: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Explanation:
        """Explain films whose maps fit in memory.

        Args:
            films: ``[n, H, W, C]`` as the model takes them, or an iterable of such batches, or a callable giving one.
                A tuple is one array ``[n, …]`` per model input.
            targets: class per film, int ``[n]``; None for the class the model predicts.
            ids: name of each film, seeds ScoreCAM's draw; None to name a film by its pixels.
            progress: called with (forwards done, forwards in all).

        Raises:
            DataError: no films, or films that do not fit the model.
            TargetError: not one target per film, or one the model does not have.
        """
        batches, n_films = as_batches(films, targets, ids, self.batch_size)
        parts = list(self.explain_batches(batches, n_films=n_films, progress=progress))
        if not parts:
            raise DataError("there is nothing to explain. Expected one film or more; received none.")
        return concatenated(parts)

    def explain_batches(
        self, batches: Iterable[Any], *, n_films: int | None = None, progress: Progress | None = None
    ) -> Iterator[Explanation]:
        """Explain a stream of `(films, targets)` or `(films, targets, ids)`, in order, as results are ready.

        Yields an explanation per batch, or per film where ScoreCAM is among the methods, so that what is finished can
        be stored at once. Incoming batches are regrouped to `batch_size`.

        Args:
            batches: films ``[b, H, W, C]`` of any b (or a tuple of one array per input), targets int ``[b]`` or None,
                ids.
            n_films: how many will come, for `progress`.
            progress: called with (forwards done, forwards in all, as far as they are known).
        """
        counter = ForwardCounter(progress, n_films)
        for batch in regrouped(batches, self.batch_size):
            yield from self._explained(batch, counter)

    def _explained(self, batch: FilmBatch, counter: ForwardCounter) -> Iterator[Explanation]:
        n = len(batch)
        # another shape may be explained while this one waits for its next film to be asked for
        ready = self._prepared(kinds(batch.inputs))
        self._check_targets(batch, ready.n_classes)
        inputs = tuple(tf.constant(padded(one, self.batch_size)) for one in batch.inputs)
        with own_errors(self._hosted):
            raw = ready.forward(inputs, tf.constant(padded(batch.targets, self.batch_size)))
        points = integrated.points(self._plan.options["ig"]) if "ig" in self.methods else 0
        counter.plan(n, 0 if self._masked is None else self._masked.most_forwards(ready.channels), points)
        counter.report(n)
        results = {}
        for name, tensors in raw["maps"].items():
            results[name] = self._result(name, {key: tensor.numpy()[:n] for key, tensor in tensors.items()}, ready)
        if "ig" in self.methods:
            results["ig"] = self._integrated(inputs, raw, n, ready, counter)
        shared = Explanation(
            probabilities=raw["probabilities"].numpy()[:n],
            logits=raw["logits"].numpy()[:n],
            targets=raw["targets"].numpy()[:n].astype(np.int64),
            results=results,
        )
        if self._masked is not None:
            yield from self._with_scorecam(shared, batch, inputs, raw, ready, counter)
        else:
            yield self._ordered(shared)

    def _integrated(
        self, inputs: tuple[tf.Tensor, ...], raw: dict[str, Any], n: int, ready: Prepared, counter: ForwardCounter
    ) -> MethodResult:
        if len(inputs) > 1:
            raise MethodError(f"ig reads one input. Expected a model of one film; received {len(inputs)} inputs.")
        targets, options = raw["targets"].numpy()[:n], self._plan.options["ig"]
        maps = integrated.film_maps(ready.path, inputs[0], ready.zero(), targets, report=counter.report, **options)
        arrays = maps.arrays()
        arrays["values"][raw["unanswered"].numpy()[:n]] = np.nan
        return self._result("ig", arrays, ready)

    def _with_scorecam(
        self,
        shared: Explanation,
        batch: FilmBatch,
        inputs: tuple[tf.Tensor, ...],
        raw: dict[str, Any],
        ready: Prepared,
        counter: ForwardCounter,
    ) -> Iterator[Explanation]:
        sampled = self._plan.samples_channels
        film_maps = self._masked.maps(
            inputs,
            raw["features"],
            raw["answers"].numpy()[: len(batch)],
            shared.targets,
            batch.film_ids() if sampled else [""] * len(batch),
            counter,
        )
        for i, film_map in enumerate(film_maps):
            result = self._result("scorecam", film_map.arrays(sampled), ready)
            yield self._ordered(shared.rows(slice(i, i + 1)), scorecam=result)

    def _result(self, name: str, arrays: Mapping[str, np.ndarray], ready: Prepared) -> MethodResult:
        layer = ready.layers[name]
        return method_result(name, arrays, layer, self._plan.parameters(name, layer))

    def _ordered(self, explanation: Explanation, **more: MethodResult) -> Explanation:
        results = {**explanation.results, **more}
        return replace(explanation, results={name: results[name] for name in self.methods})

    def _check_targets(self, batch: FilmBatch, n_classes: int) -> None:
        if self._plan.score is not None:
            if len(batch) != self.batch_size:
                raise TargetError(
                    f"a score function looks films up by their place, so every batch has to be full. "
                    f"Expected {self.batch_size} films; received {len(batch)}."
                )
            return
        beyond = batch.targets[batch.targets >= n_classes]
        if len(beyond):
            names = f" ({', '.join(self._classes)})" if self._classes else ""
            raise TargetError(
                f"target {beyond[0]} is out of range. Expected 0 to {n_classes - 1}, one of "
                f"{n_classes} classes{names}; received {sorted(set(beyond.tolist()))}."
            )


def explain_all(
    model: keras.Model,
    images: Any,
    targets: Any = None,
    *,
    methods: str | Iterable[str] = "all",
    batch_size: int = 16,
    ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Explanation:
    """Explain films with several methods at once; all but ScoreCAM share one forward per batch.

    Args:
        model: any Keras model from films to one score per class.
        images: ``[n, H, W, C]``, or an iterable of such batches, or a callable that returns one (streamed). A tuple is
            one array per model input.
        targets: class per film, int ``[n]``; None for the class the model predicts.
        methods: `all`, a comma list or names.
        batch_size: films per forward; a score function gets the films of an array all at once.
        ids: name of each film, seeds ScoreCAM's draw.
        progress: called with (forwards done, forwards in all).
        settings: everything else that `Explainer` takes (`layer`, `multiscale_layers`, `max_channels`, …).

    Returns:
        The explanation; `explanation.results[method]` holds the maps.

    Raises:
        MethodError, LayerError, TargetError, DataError: as `Explainer`.
    """
    first = images[0] if isinstance(images, tuple) and images else images
    size = batch_size
    if hasattr(first, "shape"):
        size = max(1, len(first)) if settings.get("score") is not None else min(batch_size, max(1, len(first)))
    return Explainer(model, methods, batch_size=size, **settings).explain(images, targets, ids, progress)
