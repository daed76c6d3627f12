"""Layer-wise learning rates: the optimizer that gives each variable the base rate times its own multiplier.

Built on Keras's own `MultiOptimizer`: one optimizer a multiplier. Knows variables, no films and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from cxrkeras.errors import ConfigError, WeightsError
from cxrkeras.training.layer_groups import check_multiplier, layerwise_decay, variable_multipliers

__all__ = ["LayerwiseLR", "layerwise_decay", "variable_multipliers"]


@keras.saving.register_keras_serializable(package="cxrkeras")
class LayerwiseLR(keras.optimizers.MultiOptimizer):
    """An optimizer whose rate each variable takes times its own multiplier, decoupled weight decay included.

    Scaling gradients would do nothing under Adam, so each multiplier gets an optimizer of the given kind (Keras's
    `MultiOptimizer`) whose rate is the base rate times the multiplier. `learning_rate` is the base rate, one number to
    read and to set; a multiplier of 0 leaves its variables exactly as they are.

    Args:
        optimizer: kind and settings, not built yet; any Keras optimizer without `global_clipnorm`.
        multipliers: (path, multiplier ≥ 0) of every trainable variable, in the model's order, see
            `variable_multipliers`. Both are stored with the optimizer, and checked when it meets its variables, because
            paths alone need not be unique.
        name: of the optimizer.

    Raises:
        ConfigError: an optimizer or a multiplier that cannot be used.

    Example:
        >>> groups = layerwise_decay(model, 0.8)  # doctest: +SKIP
        >>> optimizer = LayerwiseLR(keras.optimizers.Adam(1e-4), variable_multipliers(model, groups))  # doctest: +SKIP
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        multipliers: Sequence[tuple[str, float]],
        name: str | None = None,
    ) -> None:
        _check_optimizer(optimizer)
        base = _BaseRate()
        routes = _Routes(optimizer, tuple((str(path), float(m)) for path, m in multipliers), base)
        super().__init__(routes, loss_scale_factor=optimizer.loss_scale_factor, name=name)
        base.owner = self
        self._routes = routes
        self.learning_rate = routes.first_rate

    @property
    def learning_rate(self) -> Any:
        """The base rate: that of multiplier 1."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, value)

    @property
    def optimizers(self) -> Any:
        """Hidden: where Keras's callbacks see it, they log and set the rate of each part and not the base rate."""
        raise AttributeError("a LayerwiseLR has one learning rate; set learning_rate, and read multipliers.")

    @property
    def multipliers(self) -> tuple[tuple[str, float], ...]:
        """(path, multiplier) of every variable, in order."""
        return self._routes.multipliers

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Meet the variables.

        Raises:
            WeightsError: they are not those the multipliers were made for.
        """
        if not self.built:
            self._routes.assign(variables)
            super().build(variables)

    def exclude_from_weight_decay(self, var_list: list | None = None, var_names: list[str] | None = None) -> None:
        """As in Keras, for the optimizers of all multipliers."""
        for one in self._routes.optimizers.values():
            one.exclude_from_weight_decay(var_list=var_list, var_names=var_names)

    def get_config(self) -> dict[str, Any]:
        """Kind and settings of the optimizer with the present base rate, and the ordered multipliers."""
        # two levels up: `MultiOptimizer.get_config` would describe the routes, not the rate
        rate = super(keras.optimizers.MultiOptimizer, self).get_config()["learning_rate"]
        now = {**self._routes.settings, "learning_rate": rate, "loss_scale_factor": self.loss_scale_factor}
        return {
            "optimizer": keras.saving.serialize_keras_object(self._routes.kind.from_config(now)),
            "multipliers": [list(pair) for pair in self.multipliers],
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LayerwiseLR:
        """The reverse of `get_config`."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(optimizer, [tuple(pair) for pair in config["multipliers"]], name=config["name"])


class _BaseRate:
    """Where the optimizers of all multipliers read the base rate."""

    owner: LayerwiseLR

    def times(self, multiplier: float) -> Any:
        return lambda: self.owner.learning_rate * multiplier


class _Routes:
    """Which optimizer takes a variable. No Keras object, so that Keras stores nothing of it by itself."""

    def __init__(
        self, template: keras.optimizers.Optimizer, multipliers: tuple[tuple[str, float], ...], base: _BaseRate
    ) -> None:
        self.kind, self.settings, self.multipliers = type(template), template.get_config(), multipliers
        rate = self.settings["learning_rate"]
        self.first_rate = keras.saving.deserialize_keras_object(rate) if isinstance(rate, dict) else rate
        self.optimizers: dict[float, keras.optimizers.Optimizer] = {}
        for _, multiplier in multipliers:
            check_multiplier(multiplier)
            if multiplier not in self.optimizers:
                self.optimizers[multiplier] = self._optimizer(multiplier, base)
        self._by_variable: dict[int, float] = {}

    def _optimizer(self, multiplier: float, base: _BaseRate) -> keras.optimizers.Optimizer:
        if not multiplier:
            return _Unmoved(learning_rate=0.0, name="unmoved")
        name = f"{self.settings['name']}_{len(self.optimizers)}"
        return self.kind.from_config({**self.settings, "learning_rate": base.times(multiplier), "name": name})

    def assign(self, variables: Sequence[keras.Variable]) -> None:
        expected, received = [path for path, _ in self.multipliers], [v.path for v in variables]
        if expected != received:
            pairs = zip(expected, received, strict=False)
            other = next(
                (f"expected '{one}', received '{two}'" for one, two in pairs if one != two), "the counts differ"
            )
            raise WeightsError(
                f"the layer-wise multipliers were made for {len(expected)} trainable variables and met "
                f"{len(received)}; {other}. Make them anew for this model with variable_multipliers."
            )
        self._by_variable = {id(v): m for v, (_, m) in zip(variables, self.multipliers, strict=True)}

    def __call__(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        return self.optimizers[self._by_variable[id(variable)]]


class _Unmoved(keras.optimizers.Optimizer):
    """Leaves its variables alone: no step, no decay, no constraint, and no NaN of a gradient times a rate of 0."""

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Do nothing."""


def _check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    if isinstance(optimizer, (keras.optimizers.MultiOptimizer, keras.optimizers.LossScaleOptimizer)):
        raise ConfigError(
            f"layer-wise rates take a plain optimizer, received {type(optimizer).__name__}. "
            "Wrap the LayerwiseLR in a LossScaleOptimizer rather than the other way round."
        )
    if optimizer.built:
        raise ConfigError("layer-wise rates take an optimizer that has no variables yet, and this one is built.")
    if optimizer.global_clipnorm:
        raise ConfigError(
            "layer-wise rates step one multiplier at a time, so global_clipnorm would clip by the norm of a group. "
            "Use clipnorm or clipvalue."
        )
    if hasattr(optimizer, "_exclude_from_weight_decay"):
        raise ConfigError("exclude variables from weight decay on the LayerwiseLR, not on the optimizer given to it.")
