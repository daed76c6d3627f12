"""The grammar of a candidate: a name, a network, where its first weights come from, and what they expect of pixels.

Reads text only; whether a backbone, a run or a file exists is found out where it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from cxrkeras.errors import UsageError, did_you_mean, unknown

GRAMMAR = "NAME=BACKBONE:WEIGHTS[:PREPROCESS]"
EXAMPLE = "rad=ResNet50:RadImageNet-ResNet50_notop.h5:caffe/255"
# The modes of models.preprocessing, which this room may not import; a test holds the two together.
PREPROCESSING = ("tf", "torch", "caffe", "caffe/255", "unit", "none")
_SPELLINGS = {**{mode: mode for mode in PREPROCESSING}, "[0,1]": "unit"}
IMAGENET, RANDOM, RUN, FILE = "imagenet", "random", "run", "file"
_NAME = re.compile(r"[\w][\w.+@-]*")

RADIMAGENET_WARNING = (
    "is read as RadImageNet, with caffe/255: minus the ImageNet mean, then over 255, as the Keras scripts of its "
    "authors do. Other published code for these weights differs (-1..1 in their PyTorch demo, ImageNet mean and "
    "deviation in a copy, caffe without /255 in a later study), and the authors have not said which is right. Write "
    "the preprocessing behind the file to choose, and look at --check-preprocess."
)


@dataclass(frozen=True)
class Candidate:
    """A named source of first weights.

    Attributes:
        name: what tables call it.
        backbone: the network; None leaves it to the run of `run:` weights.
        weights: `imagenet`, `random`, `run:NAME[@EPOCH]` or a file.
        preprocessing: what the weights expect of pixels, one of `PREPROCESSING`; None takes that of their source.
        warning: a sentence to say before it is used; empty for most.
    """

    name: str
    backbone: str | None
    weights: str
    preprocessing: str | None = None
    warning: str = ""

    @property
    def kind(self) -> str:
        """`imagenet`, `random`, `run` or `file`."""
        if self.weights in (IMAGENET, RANDOM):
            return self.weights
        return RUN if self.weights.startswith("run:") else FILE


def parse_candidate(text: str, backbone: str | None = None) -> Candidate:
    """Parse `NAME=BACKBONE:WEIGHTS[:PREPROCESS]`; with a default backbone also `[NAME=]WEIGHTS[:PREPROCESS]`.

    Without a name, it is that of the weights (a run's name, a file's stem), after the backbone where one is written.
    `run:` weights need no backbone.

    Args:
        text: the candidate.
        backbone: the network of a candidate that names none.

    Raises:
        UsageError: text that does not follow the grammar, an unknown weight source or preprocessing, or a file
            without preprocessing.

    Example:
        >>> parse_candidate("own=compact:run:first@best")
        Candidate(name='own', backbone='compact', weights='run:first@best', preprocessing=None, warning='')
    """
    text = text.strip()
    name, sign, rest = text.partition("=")
    if not sign or "/" in name or ":" in name:
        name, rest = "", text
    elif not _NAME.fullmatch(name.strip()):
        raise UsageError(
            f"candidate '{text}' has no usable name. Expected {GRAMMAR} with a name of letters, digits and . _ + @ -, "
            f"for example {EXAMPLE}."
        )
    named_backbone, rest = _backbone_and_rest(rest.strip())
    weights, preprocessing = _weights_and_preprocessing(rest, text)
    network = named_backbone or backbone
    if not name:
        name = "-".join(part for part in (named_backbone, _weights_name(weights)) if part)
    candidate = Candidate(name.strip(), network, weights, preprocessing)
    if network is None and candidate.kind != RUN:
        raise UsageError(
            f"candidate '{text}' names no backbone. Expected {GRAMMAR}, for example {name}=DenseNet121:{weights}."
        )
    return _with_known_preprocessing(candidate)


def checked_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates, none of them twice.

    Raises:
        UsageError: two have the same name, or there are none.
    """
    listed = tuple(candidates)
    names = [candidate.name.lower() for candidate in listed]
    if not listed:
        raise UsageError(f"there is no candidate. Expected at least one {GRAMMAR}, for example {EXAMPLE}.")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(
                f"two candidates are called '{listed[place].name}'. Expected a name of its own for each: write "
                f"NAME=… before {listed[place].weights}."
            )
    return listed


def _backbone_and_rest(text: str) -> tuple[str | None, str]:
    """The backbone that stands before the weights, if the first part is one: neither a source nor a path."""
    first, sign, rest = text.partition(":")
    if not sign or first in (IMAGENET, RANDOM, RUN) or "/" in first or "." in first:
        return None, text
    return first, rest


def _weights_and_preprocessing(text: str, whole: str) -> tuple[str, str | None]:
    before, sign, last = text.rpartition(":")
    if sign and last.strip().lower() in _SPELLINGS:
        weights, preprocessing = before, _SPELLINGS[last.strip().lower()]
    else:
        weights, preprocessing = text, None
    bare = weights.removeprefix("run:")
    head, sign, tail = bare.rpartition(":")
    plain = "/" not in tail and "." not in tail
    if sign and (plain or head in (IMAGENET, RANDOM) or tail.partition("/")[0] in _SPELLINGS):
        raise unknown("preprocessing", tail, PREPROCESSING)
    if weights.startswith("run:"):
        if not bare.partition("@")[0]:
            raise UsageError(f"candidate '{whole}' names no run. Expected run:NAME or run:NAME@EPOCH.")
    elif weights not in (IMAGENET, RANDOM) and "/" not in weights and "." not in weights:
        raise UsageError(
            f"candidate '{whole}': unknown weights '{weights}'. Expected {GRAMMAR} with weights imagenet, random, "
            f"run:NAME[@EPOCH] or a file.{did_you_mean(weights, (IMAGENET, RANDOM))}"
        )
    return weights, preprocessing


def _weights_name(weights: str) -> str:
    """`imagenet`, `random`, a run's name with its epoch unless that is the best, or a file's stem."""
    if weights.startswith("run:"):
        name, _, epoch = weights[4:].partition("@")
        return PurePath(name).name + (f"@{epoch}" if epoch not in ("", "best") else "")
    return (
        weights if weights in (IMAGENET, RANDOM) else re.sub(r"[^\w.+@-]+", "-", PurePath(weights).name.split(".")[0])
    )


def _with_known_preprocessing(candidate: Candidate) -> Candidate:
    if candidate.kind != FILE or candidate.preprocessing is not None:
        return candidate
    if is_radimagenet(candidate):
        return Candidate(
            candidate.name,
            candidate.backbone,
            candidate.weights,
            "caffe/255",
            f"{candidate.name} {RADIMAGENET_WARNING}",
        )
    raise UsageError(
        f"candidate '{candidate.name}': what pixels the weights in {candidate.weights} expect cannot be told from the "
        f"file. Expected {candidate.weights}:PREPROCESS with one of: {', '.join(PREPROCESSING)}. Take the one it was "
        "trained with."
    )


def is_radimagenet(candidate: Candidate) -> bool:
    """Whether the file's name says that it is one of the published RadImageNet weights."""
    return candidate.kind == FILE and "radimagenet" in PurePath(candidate.weights).name.lower()
