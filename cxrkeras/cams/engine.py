"""The engine: one traced forward that gives logits, probabilities and the maps of every gradient and activation method.

Only the head is differentiated: the gradient stops at the tapped layer. ScoreCAM takes its features from the same
forward. Knows no file, no run and no backbone; the last batch is padded, so one trace serves any number of batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams import scorecam
from cxrkeras.cams.batches import FilmBatch, as_batches, regrouped
from cxrkeras.cams.plan import MULTISCALE_LAYERS, ON, Modifier, Plan, ScoreFunction, per_film
from cxrkeras.cams.probe import traced
from cxrkeras.cams.progress import ForwardCounter, Progress
from cxrkeras.cams.registry import FORWARD, METHODS, method_names, method_options, scorecam_forwards
from cxrkeras.cams.results import Explanation, MethodResult, concatenated, method_result
from cxrkeras.errors import DataError, MethodError, TargetError, unknown


class Explainer:
    """A model compiled once for a set of methods, to be used for any number of films and checkpoints.

    The weights are read at every call: load others into the model and explain again, without a new trace.

    Example:
        >>> explainer = Explainer(model, "gradcam,layercam")                      # doctest: +SKIP
        >>> explanation = explainer.explain(films, targets)                       # doctest: +SKIP
        >>> explanation["gradcam"].values.shape, explanation.probabilities.shape  # doctest: +SKIP
        ((8, 7, 7), (8, 2))

    Args:
        model: any Keras model from films ``[n, H, W, C]`` to one score per class; it is not changed.
        methods: `all`, a comma list or names.
        layer: role (`head_input`, `last_conv`, `stride8`, …) or layer name, `outer/inner` for a nested one.
        multiscale_layers: three or more of the same for ms-gradcam++, finest first; None for strides 8, 16, 32.
        batch_size: films per forward.
        pack_size: masked films per ScoreCAM forward; it does not change the maps.
        on: what is differentiated: `logit` z_c, `probability` p_c, or `margin` z_c − log Σ_{j≠c} e^{z_j}.
        seed: of ScoreCAM's draw where channels are capped.
        classes: class names, for messages.
        score: a function of the model's logits (for ScoreCAM its probabilities) ``[batch_size, units]`` with one value
            per film, in place of a target class; every batch then has to be full.
        gradient_modifier: applied to the gradients before the method.
        rectify: replaces the ReLU that ends every method.
        options: options of the methods, see `registry.METHODS`.

    Raises:
        MethodError: an unknown method or option.
    """

    def __init__(
        self,
        model: keras.Model,
        methods: str | Iterable[str] = "all",
        *,
        layer: str = "head_input",
        multiscale_layers: Sequence[str] | None = None,
        batch_size: int = 16,
        pack_size: int = 16,
        on: str = "logit",
        seed: int = 0,
        classes: Sequence[str] | None = None,
        score: ScoreFunction | None = None,
        gradient_modifier: Modifier | None = None,
        rectify: Modifier | None = None,
        **options: Any,
    ) -> None:
        if on not in ON:
            raise unknown("on", str(on), ON, MethodError)
        if batch_size < 1 or pack_size < 1:
            raise MethodError(f"batch_size and pack_size have to be 1 or more; received {batch_size} and {pack_size}.")
        self.methods = method_names(methods)
        self.batch_size, self.traces = int(batch_size), 0
        self.layers: dict[str, str] = {}
        self.channels: int | None = None
        self._plan = Plan(
            methods=self.methods,
            options=method_options(self.methods, options),
            layer=layer,
            multiscale=MULTISCALE_LAYERS if multiscale_layers is None else tuple(multiscale_layers),
            on=on,
            seed=int(seed),
            score=score,
            gradient_modifier=gradient_modifier,
            rectify=rectify,
        )
        if "scorecam" in self.methods:
            scorecam.check_options(**self._plan.options["scorecam"])
        self._model = model
        self._classes = None if classes is None else tuple(classes)
        self._compiled = tf.function(self._probe, autograph=False)
        self._ready: dict[tuple[int, ...], Callable[..., Any]] = {}
        self._pack_size = int(pack_size)
        self._masked: scorecam.MaskedForward | None = None
        self.units, self._n_classes, self._head = 0, 0, ""

    def prepare(self, image_shape: Sequence[int]) -> None:
        """Trace the model for films of one shape ``(H, W, C)``; afterwards `layers`, `channels` and `units` are known.

        Raises:
            LayerError: a layer that the model does not have or that cannot carry a map.
            DataError: films that do not fit the model's input.
        """
        shape = tuple(int(side) for side in image_shape)
        if shape in self._ready:
            return
        self._check_input(shape)
        if not self._model.built:
            self._model(np.zeros((1, *shape), np.float32), training=False)
        self._ready[shape] = self._compiled.get_concrete_function(
            tf.TensorSpec((self.batch_size, *shape), tf.float32), tf.TensorSpec((self.batch_size,), tf.int32)
        )

    def explain(
        self, films: Any, targets: Any = None, ids: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Explanation:
        """Explain films whose maps fit in memory.

        Args:
            films: ``[n, H, W, C]`` as the model takes them, or an iterable of such batches, or a callable giving one.
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
            batches: films ``[b, H, W, C]`` of any b, targets int ``[b]`` or None, ids.
            n_films: how many will come, for `progress`.
            progress: called with (forwards done, forwards in all, as far as they are known).
        """
        counter = ForwardCounter(progress, n_films)
        for batch in regrouped(batches, self.batch_size):
            yield from self._explained(batch, counter)

    def _explained(self, batch: FilmBatch, counter: ForwardCounter) -> Iterator[Explanation]:
        n, shape = len(batch), batch.films.shape[1:]
        self.prepare(shape)
        self._check_targets(batch)
        padding = (0, self.batch_size - n)
        films = tf.constant(np.pad(batch.films, [padding, (0, 0), (0, 0), (0, 0)], mode="edge"))
        raw = self._ready[shape](films, tf.constant(np.pad(batch.targets, padding, mode="edge")))
        counter.plan(n, self._most_forwards())
        counter.report(n)
        results = {}
        for name, tensors in raw["maps"].items():
            arrays = {key: tensor.numpy()[:n] for key, tensor in tensors.items()}
            results[name] = method_result(name, arrays, self.layers[name], self._parameters(name))
        shared = Explanation(
            probabilities=raw["probabilities"].numpy()[:n],
            logits=raw["logits"].numpy()[:n],
            targets=raw["targets"].numpy()[:n].astype(np.int64),
            results=results,
        )
        if self._plan.has_forward_method:
            yield from self._with_scorecam(shared, batch, films, raw["features"], counter)
        else:
            yield self._ordered(shared)

    def _with_scorecam(
        self, shared: Explanation, batch: FilmBatch, films: tf.Tensor, features: tf.Tensor, counter: ForwardCounter
    ) -> Iterator[Explanation]:
        options = self._plan.options["scorecam"]
        capped = options["max_channels"] is not None
        if self._masked is None:
            self._masked = scorecam.MaskedForward(self._model, self._head, self._pack_size)
        film_maps = scorecam.film_maps(
            self._masked,
            films,
            features,
            [self._film_score(i, int(target)) for i, target in enumerate(shared.targets)],
            shared.probabilities,
            batch.film_ids() if capped else [""] * len(batch),
            seed=self._plan.seed,
            rectify=self._rectified,
            plan=counter.replan,
            report=counter.report,
            **options,
        )
        for i, film_map in enumerate(film_maps):
            result = method_result(
                "scorecam", film_map.arrays(capped), self.layers["scorecam"], self._parameters("scorecam")
            )
            yield self._ordered(shared.rows(slice(i, i + 1)), scorecam=result)

    def _probe(self, films: tf.Tensor, targets: tf.Tensor) -> dict[str, Any]:
        self.traces += 1
        trace = traced(self._model, films)
        probabilities = trace.probabilities
        self._n_classes, self.units = int(probabilities.shape[-1]), int(trace.raw_logits.shape[-1])
        self._head = trace.head
        taps = self._plan.taps(trace)
        self.layers = {name: ", ".join(t.name for t in found) for name, found in taps.items()}
        targets = tf.where(targets < 0, tf.argmax(probabilities, -1, tf.int32), targets)
        outputs = {
            "logits": trace.logits,
            "probabilities": probabilities,
            "targets": targets,
            "maps": self._plan.maps(trace, targets, taps),
        }
        for name in self.methods:
            if METHODS[name].kind == FORWARD:
                outputs["features"] = tf.cast(taps[name][0].tensor, tf.float32)
                self.channels = int(taps[name][0].tensor.shape[-1])
        return outputs

    def _parameters(self, name: str) -> dict[str, Any]:
        return self._plan.parameters(name, self.layers[name])

    def _ordered(self, explanation: Explanation, **more: MethodResult) -> Explanation:
        results = {**explanation.results, **more}
        return replace(explanation, results={name: results[name] for name in self.methods})

    def _film_score(self, film: int, target: int) -> scorecam.Score:
        score = self._plan.score
        if score is None:
            return lambda answers: answers[:, target]

        def scored(answers: np.ndarray) -> np.ndarray:
            units = answers[:, 1:] if self.units == 1 else answers
            # a score function may look each film up by its place in the batch
            places = (tf.constant(np.tile(row, (self.batch_size, 1))) for row in units)
            return np.array([float(per_film(score(place))[film]) for place in places])

        return scored

    def _rectified(self, values: np.ndarray) -> np.ndarray:
        if self._plan.rectify is None:
            return np.maximum(values, 0)
        return np.asarray(self._plan.rectify(tf.constant(values, tf.float32)))

    def _most_forwards(self) -> int:
        if self.channels is None:
            return 0
        options = self._plan.options["scorecam"]
        baseline = int(options["weighting"] == "softmax")
        return scorecam_forwards(1, self.channels, options["max_channels"]) + baseline

    def _check_input(self, shape: tuple[int, ...]) -> None:
        inputs = getattr(self._model, "inputs", None) or []
        if len(inputs) > 1:
            raise DataError(
                f"{self._model.name} takes {len(inputs)} inputs. Expected a model of one film; wrap it so that the "
                "others are fixed."
            )
        expected = tuple(inputs[0].shape[1:]) if inputs else shape
        fits = len(expected) == len(shape) and all(e in (None, s) for e, s in zip(expected, shape, strict=True))
        if not fits:
            raise DataError(
                f"the films do not fit {self._model.name}. Expected [n, {', '.join(map(str, expected))}]; "
                f"received [n, {', '.join(map(str, shape))}]. Resize them or repeat the channel."
            )

    def _check_targets(self, batch: FilmBatch) -> None:
        if self._plan.score is not None and len(batch) != self.batch_size:
            raise TargetError(
                f"a score function looks films up by their place, so every batch has to be full. "
                f"Expected {self.batch_size} films; received {len(batch)}."
            )
        beyond = batch.targets[batch.targets >= self._n_classes]
        if len(beyond):
            names = f" ({', '.join(self._classes)})" if self._classes else ""
            raise TargetError(
                f"target {beyond[0]} is out of range. Expected 0 to {self._n_classes - 1}, one of "
                f"{self._n_classes} classes{names}; received {sorted(set(beyond.tolist()))}."
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
        images: ``[n, H, W, C]``, or an iterable of such batches, or a callable that returns one (streamed).
        targets: class per film, int ``[n]``; None for the class the model predicts.
        methods: `all`, a comma list or names.
        batch_size: films per forward.
        ids: name of each film, seeds ScoreCAM's draw.
        progress: called with (forwards done, forwards in all).
        settings: everything else that `Explainer` takes (`layer`, `multiscale_layers`, `max_channels`, …).

    Returns:
        The explanation; `explanation.results[method]` holds the maps.

    Raises:
        MethodError, LayerError, TargetError, DataError: as `Explainer`.
    """
    size = min(batch_size, max(1, len(images))) if hasattr(images, "shape") else batch_size
    return Explainer(model, methods, batch_size=size, **settings).explain(images, targets, ids, progress)
