"""ScoreCAM of the films an explainer is given: its part of the traced graph, its masked forwards, its memory.

Which channels get a forward and what their answers add up to is `film_maps`'; this module ties it to a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.inputs import Kind, kinds
from cxrkeras.cams.plan import Plan
from cxrkeras.cams.progress import ForwardCounter
from cxrkeras.cams.registry import scorecam_forwards
from cxrkeras.cams.scorecam.film_maps import PREPROCESSED, FilmMap, Score, check_options, film_maps
from cxrkeras.cams.scorecam.joint import joint_film_maps
from cxrkeras.cams.scorecam.masked import MaskedForward, Masking
from cxrkeras.cams.scores import Reading
from cxrkeras.cams.tracing import memory
from cxrkeras.cams.tracing.layers import Tap
from cxrkeras.cams.tracing.preprocessing import preprocessing_end
from cxrkeras.cams.tracing.probe import Trace, called
from cxrkeras.errors import MethodError


class MaskedFilms:
    """Masked forwards of one model, compiled once per shape and dtype of its inputs.

    Args:
        model: any Keras model.
        plan: what is explained, with ScoreCAM's options.
        pack_size: masked films per forward; None for as many as the budget allows.
        memory_budget: bytes they may take at a time; None for 1 GiB.

    Attributes:
        given_pack_size: as given.
    """

    def __init__(self, model: keras.Model, plan: Plan, pack_size: int | None, memory_budget: int | None) -> None:
        self._model, self._plan = model, plan
        self._options = plan.options["scorecam"]
        check_options(self._options)
        if plan.score is not None and self._options["tolerance"] is not None:
            raise MethodError(
                "tolerance is for class targets. Expected max_channels, or neither, with a score function."
            )
        self._budget = memory.DEFAULT_BUDGET if memory_budget is None else int(memory_budget)
        self.given_pack_size = None if pack_size is None else int(pack_size)
        self._forwards: dict[tuple[Kind, ...], MaskedForward] = {}
        self._readings: dict[tuple[Kind, ...], Reading] = {}

    def traced(self, trace: Trace, tapped: Tap) -> dict[str, tf.Tensor]:
        """Add to a graph what ScoreCAM needs of the unmasked films: `features` ``[n, h, w, K]`` and `answers`."""
        reading = Reading.of(trace, scored=self._plan.score is not None)
        self._readings[kinds(trace.inputs)] = reading
        self._forwards[kinds(trace.inputs)] = self._forward(trace, reading)
        return {
            "features": tf.cast(tapped.tensor, tf.float32),
            "answers": reading.rows([answer.output for answer in trace.answers]),
        }

    def pack_size(self, wanted: tuple[Kind, ...]) -> int:
        """Masked films per forward, for inputs of a kind that was traced."""
        return self._forwards[wanted].pack_size

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
        forward, reading = self._forwards[kinds(inputs)], self._readings[kinds(inputs)]
        shared = {
            "seed": self._plan.seed,
            "weighting": self._options["weighting"],
            "max_channels": self._options["max_channels"],
            "rectify": self._rectified,
            "plan": counter.replan,
            "report": counter.report,
        }
        if self._plan.score is not None:

            def joint_score(rows: np.ndarray) -> np.ndarray:
                return self._plan.score.values(reading.outputs(rows), shared=False).numpy()

            yield from joint_film_maps(forward, inputs, features, joint_score, answers, film_ids, **shared)
            return
        scores = [_class_score(int(target)) for target in targets]
        tolerance = self._options["tolerance"]
        yield from film_maps(forward, inputs, features, scores, answers, film_ids, tolerance=tolerance, **shared)

    def most_forwards(self, channels: int) -> int:
        """Forwards that one film may need where the tapped layer has so many channels."""
        baseline = int(self._options["weighting"] == "softmax")
        return scorecam_forwards(1, channels, self._options["max_channels"]) + baseline

    def _forward(self, trace: Trace, reading: Reading) -> MaskedForward:
        layers = ()
        if self._options["mask_space"] == PREPROCESSED:
            gridded = (films for films in trace.inputs if films.shape.rank == 4)
            layers = tuple(preprocessing_end(trace, films, self._options["mask_layer"]).layer for films in gridded)
        film_bytes = memory.masked_film_bytes(trace.inputs, [answer.output for answer in trace.answers])
        pack_size = self.given_pack_size or memory.films_within(self._budget, film_bytes)
        masking = Masking(float(self._options["mask_value"]), layers)

        def answers(inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
            return reading.rows(keras.tree.flatten(called(self._model, inputs)))

        return MaskedForward(answers, pack_size, masking, self._options["precision"])

    def _rectified(self, values: np.ndarray) -> np.ndarray:
        if self._plan.rectify is None:
            return np.maximum(values, 0)
        return np.asarray(self._plan.rectify(tf.constant(values, tf.float32)))


def _class_score(target: int) -> Score:
    return lambda answers: answers[:, target]
