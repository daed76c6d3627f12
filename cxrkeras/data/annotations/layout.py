"""JSON from outside, validated: one message for whatever does not fit.

Knows no layout of its own; the readers bring theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cxrkeras.errors import DataError

Layout = TypeVar("Layout")


def checked_layout(layout: TypeAdapter[Layout], values: Any, file: Path) -> Layout:
    """The values in their layout.

    Raises:
        DataError: they do not fit; names the first place that does not.
    """
    try:
        return layout.validate_python(values)
    except ValidationError as error:
        problems = error.errors()
        place = " > ".join(map(str, problems[0]["loc"])) or "the top"
        raise DataError(
            f"{file} does not fit its layout in {len(problems)} places, first at {place}: {problems[0]['msg']}. "
            f"Received {str(problems[0]['input'])[:60]!r}; correct the file."
        ) from None
