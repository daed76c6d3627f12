"""ScoreCAM of the films an explainer is given: its part of the traced graph, its masked forwards, its memory.

Which channels get a forward and what their answers add up to is `film_maps`'; this module ties it to a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.inputs import Shape
from cxrkeras.cams.plan import Plan
from cxrkeras.cams.progress import ForwardCounter
from cxrkeras.cams.registry import scorecam_forwards
from cxrkeras.cams.scorecam.film_maps import PREPROCESSED, FilmMap, Score, check_options, film_maps
from cxrkeras.cams.scorecam.masked import MaskedForward, Masking
from cxrkeras.cams.scores import Reading
from cxrkeras.cams.tracing import memory
from cxrkeras.cams.tracing.layers import Tap
from cxrkeras.cams.tracing.preprocessing import preprocessing_end
from cxrkeras.cams.tracing.probe import Trace, called


class MaskedFilms:
    """Masked forwards of one model, compiled once per shape of its inputs.

    Args:
        model: any Keras model.
        plan: what is explained, with ScoreCAM's options.
        batch_size: films per forward of the explainer.
        pack_size: masked films per forward; None for as many as the budget allows.
        memory_budget: bytes they may take at a time; None for 1 GiB.

    Attributes:
        channels: channels of the tapped layer, once traced.
        pack_size: masked films per forward, once traced.
    """

    def __init__(
        self, model: keras.Model, plan: Plan, batch_size: int, pack_size: int | None, memory_budget: int | None
    ) -> None:
        self._model, self._plan, self._batch_size = model, plan, batch_size
        self._options = plan.options["scorecam"]
        check_options(self._options)
        self._budget = memory.DEFAULT_BUDGET if memory_budget is None else int(memory_budget)
        self._fixed_pack = None if pack_size is None else int(pack_size)
        self.channels: int | None = None
        self.pack_size = self._fixed_pack
        self._forwards: dict[tuple[Shape, ...], MaskedForward] = {}
        self._reading: Reading | None = None

    def traced(self, trace: Trace, tapped: Tap) -> dict[str, tf.Tensor]:
        """Add to a graph what ScoreCAM needs of the unmasked films: `features` ``[n, h, w, K]`` and `answers`."""
        self.channels = int(tapped.tensor.shape[-1])
        self._reading = Reading.of(trace, scored=self._plan.score is not None)
        self._forwards[_shapes(trace.inputs)] = self._forward(trace)
        return {
            "features": tf.cast(tapped.tensor, tf.float32),
            "answers": self._reading.rows([answer.output for answer in trace.answers]),
        }

    def maps(
        self,
        inputs: tuple[tf.Tensor, ...],
        features: tf.Tensor,
        answers: np.ndarray,
        targets: np.ndarray,
        film_ids: Sequence[str],
        counter: ForwardCounter,
    ) -> Iterator[FilmMap]:
        """Yield ScoreCAM of each film as soon as its last channel is through.

        Args:
            inputs: model inputs, one ``[b, …]`` each, as they were traced.
            features: A, ``[b, h, w, K]``.
            answers: for the unmasked films, ``[n, columns]``, n ≤ b.
            targets: class per film, int ``[n]``.
            film_ids: seed the draw where channels are sampled.
            counter: told of forwards planned and done.
        """
        yield from film_maps(
            self._forwards[_shapes(inputs)],
            inputs,
            features,
            [self._film_score(i, int(target)) for i, target in enumerate(targets)],
            answers,
            film_ids,
            seed=self._plan.seed,
            weighting=self._options["weighting"],
            max_channels=self._options["max_channels"],
            tolerance=self._options["tolerance"],
            rectify=self._rectified,
            plan=counter.replan,
            report=counter.report,
        )

    def most_forwards(self) -> int:
        """Forwards that one film may need."""
        if self.channels is None:
            return 0
        baseline = int(self._options["weighting"] == "softmax")
        return scorecam_forwards(1, self.channels, self._options["max_channels"]) + baseline

    def _forward(self, trace: Trace) -> MaskedForward:
        layers = ()
        if self._options["mask_space"] == PREPROCESSED:
            gridded = (films for films in trace.inputs if films.shape.rank == 4)
            layers = tuple(preprocessing_end(trace, films, self._options["mask_layer"]).layer for films in gridded)
        film_bytes = memory.masked_film_bytes(trace.inputs, [answer.output for answer in trace.answers])
        self.pack_size = self._fixed_pack or memory.films_within(self._budget, film_bytes)
        masking = Masking(float(self._options["mask_value"]), layers)
        return MaskedForward(self._answers, self.pack_size, masking, self._options["precision"])

    def _answers(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return self._reading.rows(keras.tree.flatten(called(self._model, inputs)))

    def _film_score(self, film: int, target: int) -> Score:
        score, reading = self._plan.score, self._reading
        if score is None:
            return lambda answers: answers[:, target]

        def scored(answers: np.ndarray) -> np.ndarray:
            # a score function may look each film up by its place in the batch
            batches = (reading.outputs(row, self._batch_size) for row in answers)
            return np.array([float(score.values(batch)[film]) for batch in batches])

        return scored

    def _rectified(self, values: np.ndarray) -> np.ndarray:
        if self._plan.rectify is None:
            return np.maximum(values, 0)
        return np.asarray(self._plan.rectify(tf.constant(values, tf.float32)))


def _shapes(inputs: Sequence[tf.Tensor]) -> tuple[Shape, ...]:
    return tuple(tuple(one.shape) for one in inputs)
