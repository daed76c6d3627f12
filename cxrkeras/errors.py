"""Every failure the package raises on purpose, and the wording they share.

A message says what is wrong, what was expected, what was received and the next step, in one line.
Knows nothing of any subject; the command line turns these into one line and an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CxrKerasError(Exception):
    """Base of all deliberate failures. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(CxrKerasError, ValueError):
    """A name, option or combination of options that does not exist or makes no sense."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or value that cannot be used."""


class DataError(CxrKerasError, ValueError):
    """A folder, manifest or table of films that cannot be used."""


class FilmError(DataError):
    """One film whose pixels cannot be read."""


class BackboneError(UsageError):
    """An unknown backbone, or an image size it cannot be used at."""


class WeightsError(CxrKerasError, ValueError):
    """A weight source that is missing, broken or belongs to another network."""


class LayerError(UsageError):
    """A layer or role that the model does not have, or whose output cannot carry a map."""


class LayerIndexError(LayerError, IndexError):
    """A layer index beyond the model's layers; an IndexError for those who expect one."""


class UnconnectedLayerError(LayerError, AttributeError):
    """A layer that the scores do not depend on; tf-keras-vis raises an AttributeError for it."""


class TargetError(UsageError):
    """Target classes that do not fit the model or the batch."""


class HiddenLogitsError(TargetError):
    """A model whose output is made of probabilities, so that there is no logit to explain."""


class MethodError(UsageError):
    """An explanation method, or one of its options, that does not exist."""


class ScoreInputError(CxrKerasError, ValueError):
    """Maps, labels, probabilities or patients that do not fit together."""


class RunError(CxrKerasError):
    """A run directory that is missing, foreign, finished, locked or not writable."""


class CheckpointError(RunError):
    """A checkpoint that is not in the run, or whose file is broken."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest known word, or an empty string."""
    by_lower = {str(k).lower(): str(k) for k in known}
    close = difflib.get_close_matches(str(word).lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def unknown(kind: str, word: str, known: Iterable[str], error: type[CxrKerasError] = UsageError) -> CxrKerasError:
    """Build the error for a name that is not in a closed set: what, expected, received, nearest."""
    known = [str(k) for k in known]
    return error(f"unknown {kind} '{word}'. Expected one of: {', '.join(known)}.{did_you_mean(word, known)}")
