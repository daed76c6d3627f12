"""The table of CAM methods: what each one is called, needs and takes; the docs table is made from it.

Imports no TensorFlow: a method's functions are named here and loaded when first used. A new method is a pure function
and one record in this table.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrkeras.cams.options import check_values
from cxrkeras.errors import MethodError, unknown

# Raise it when a method would make other maps from the same model and film: stored maps are keyed by it.
MAPS_VERSION = 2

GRADIENT, ACTIVATION, MULTISCALE, FORWARD = "gradient", "activation", "multiscale", "forward"
INPUT, PATH = "input", "path"


@dataclass(frozen=True)
class Method:
    """One way to make maps.

    Attributes:
        name: the word users type.
        kind: what it needs. `gradient`: features and gradients at one layer; `activation`: features only;
            `multiscale`: features and gradients at several layers; `forward`: one forward pass per channel; `input`:
            the gradient at the model's input; `path`: that gradient at many points between a baseline and the film.
        class_specific: whether the map depends on the target class.
        paper: where it was defined.
        description: one line.
        function: `module:name` of the pure function inside `cxrkeras.cams`.
        options: options of `function` with their defaults.
        fuse: `module:name` of the function that joins the maps of several layers, if the method can.
        fuse_options: options of `fuse` with their defaults.
        layers_option: option that names several layers for a method that usually reads one.
        rectifies_gradients: whether a ReLU of the gradients is part of its definition; a user's modifier replaces it.
    """

    name: str
    kind: str
    class_specific: bool
    paper: str
    description: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    fuse: str | None = None
    fuse_options: Mapping[str, Any] = field(default_factory=dict)
    layers_option: str | None = None
    rectifies_gradients: bool = False

    @property
    def in_the_forward(self) -> bool:
        """Whether the maps come out of the one traced forward, with no further pass of their own."""
        return self.kind not in (FORWARD, PATH)

    @property
    def needs_gradient(self) -> bool:
        """Whether the traced forward has to be differentiated for it."""
        return self.kind in (GRADIENT, MULTISCALE, INPUT)

    @property
    def explains_score(self) -> bool:
        """Whether its map depends on what is differentiated: logit, probability or margin."""
        return self.needs_gradient or self.kind == PATH

    @property
    def at_input(self) -> bool:
        """Whether its grid is the input's: the maps are large, and no layer is chosen."""
        return self.kind in (INPUT, PATH)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the method with its default."""
        several = {self.layers_option: None} if self.layers_option else {}
        return {**self.options, **several, **self.fuse_options}

    def load(self) -> Callable[..., Any]:
        """Import the method's function."""
        return _load(self.function)

    def load_fuse(self) -> Callable[..., Any]:
        """Import the function that joins several layers."""
        if self.fuse is None:
            raise MethodError(
                f"{self.name} reads one layer; expected a method that joins layers, such as ms-gradcam++."
            )
        return _load(self.fuse)


def _load(reference: str) -> Callable[..., Any]:
    module, function = reference.split(":")
    return getattr(importlib.import_module(f"cxrkeras.cams.{module}"), function)


_TABLE = (
    Method(
        "gradcam", GRADIENT, True, "Selvaraju et al. 2017",
        "channels weighted by the spatial mean of their gradients",
        "methods:gradcam",
    ),
    Method(
        "gradcam++", GRADIENT, True, "Chattopadhay et al. 2018, eq. 19",
        "channels weighted by their positive gradients, each cell with its own alpha",
        "methods:gradcam_plus_plus", {"normalize_alphas": None},
    ),
    Method(
        "layercam", GRADIENT, True, "Jiang et al. 2021",
        "every cell of a channel weighted by its own positive gradient",
        "methods:layercam", {}, "methods:scaled_maximum", {"layercam_gamma": 2.0}, "layercam_layers", True,
    ),
    Method(
        "eigencam", ACTIVATION, False, "Muhammad and Yeasin 2020, centred",
        "features projected on their first principal direction",
        "methods:eigencam",
    ),
    Method(
        "scorecam", FORWARD, True, "Wang et al. 2020",
        "channels weighted by the class probability of the film seen through them; one forward per channel",
        "scorecam.film_maps:film_maps",
        {
            "weighting": "probability", "max_channels": None, "tolerance": None, "mask_space": "input",
            "mask_value": 0.0, "mask_layer": None, "precision": "model",
        },
    ),
    Method(
        "ms-gradcam++", MULTISCALE, True, "defined by this package",
        "gradcam++ at strides 8, 16 and 32, each scaled to 0..1 at the finest grid, and their mean",
        "methods:gradcam_plus_plus", {"normalize_alphas": None},
        "methods:fused_levels", {"fusion": "mean", "level_weights": None},
    ),
    Method(
        "saliency", INPUT, True, "Simonyan et al. 2014",
        "largest absolute gradient of a pixel's channels",
        "methods:saliency",
    ),
    Method(
        "ig", PATH, True, "Sundararajan et al. 2017",
        "integrated gradients from the zero of the preprocessed input or from a black film, midpoint rule",
        "integrated:film_maps", {"ig_steps": 50, "ig_baseline": "zero"},
    ),
)  # fmt: skip

METHODS: dict[str, Method] = {method.name: method for method in _TABLE}
ALL_CAMS = ("gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "ms-gradcam++")


def method_names(spec: str | Iterable[str]) -> tuple[str, ...]:
    """Turn `all`, a comma list or a sequence of names into registry names, without repeats.

    Example:
        >>> method_names("gradcam, layercam")
        ('gradcam', 'layercam')

    Raises:
        MethodError: a name is unknown, or none was given.
    """
    words = spec.split(",") if isinstance(spec, str) else [str(word) for word in spec]
    names: list[str] = []
    for word in (word.strip().lower() for word in words):
        if word == "all":
            names += ALL_CAMS
        elif word in METHODS:
            names.append(word)
        elif word:
            raise unknown("method", word, (*METHODS, "all"), MethodError)
    if not names:
        raise MethodError(
            f"no method given. Expected 'all' or a comma list of: {', '.join(METHODS)}. Received: {spec!r}."
        )
    return tuple(dict.fromkeys(names))


def method_options(names: Iterable[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fill in the defaults of each method's options.

    Args:
        names: registry names.
        given: options the caller set; each must belong to some method of the registry.

    Returns:
        For each name, all its options.

    Raises:
        MethodError: an option that no method has, or a value that it cannot have.
    """
    known = sorted({option for method in METHODS.values() for option in method.defaults})
    for option in given:
        if option not in known:
            raise unknown("option", option, known, MethodError)
    check_values(given)
    return {name: {key: given.get(key, value) for key, value in METHODS[name].defaults.items()} for name in names}


def checked_option(name: str, text: str) -> tuple[str, Any]:
    """An option as typed on a command line, with its value as JSON where it is JSON, else as text.

    Example:
        >>> checked_option("ig_steps", "100")
        ('ig_steps', 100)

    Raises:
        MethodError: an option that no method has.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    method_options((), {name: value})
    return name, value


def scorecam_forwards(n_films: int, channels: int, max_channels: int | None = None) -> int:
    """Return how many forward passes ScoreCAM needs, to be announced before it starts.

    Args:
        n_films: films to explain.
        channels: channels of the tapped layer, or live channels where they are known.
        max_channels: the cap, None for the exact map.
    """
    return n_films * (channels if max_channels is None else min(channels, max_channels))


def methods_table() -> str:
    """The methods as a Markdown table, as the documentation shows it."""
    costs = {
        FORWARD: "one forward a live channel",
        MULTISCALE: "one forward, gradients down to the finest level",
        INPUT: "one forward and one backward through the whole net",
        PATH: "`ig_steps` forwards and backwards through the whole net",
    }
    lines = ["| method | in words | class-specific | cost a film | defined by |", "|---|---|---|---|---|"]
    for method in METHODS.values():
        cost = costs.get(method.kind, "shares the one forward")
        specific = "yes" if method.class_specific else "no"
        lines.append(f"| `{method.name}` | {method.description} | {specific} | {cost} | {method.paper} |")
    return "\n".join(lines)
