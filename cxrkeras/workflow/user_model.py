"""A model from outside any run, opened so that the parts that explain a run's checkpoint explain it too."""

from __future__ import annotations

from pathlib import Path

from cxrkeras.config import Config
from cxrkeras.errors import DataError
from cxrkeras.models.saved import FILM_RANGE, SavedModel, saved_model
from cxrkeras.run import ARTIFACTS, Run
from cxrkeras.settings import DataSettings
from cxrkeras.store import sha256_file
from cxrkeras.workflow.opened import ExplainerCache

# a saved model has no epochs; its results are stored under this one
EPOCH = 0


class OpenModel(ExplainerCache):
    """A user's model with the surface of `OpenRun` that explaining needs.

    Args:
        file: `.keras` or `.h5`.
        classes: file with a class name a line, or None to call them by index.
        image_size: side in pixels, for a model that leaves it open.
        pixel_range: what the model takes for black and white.
        out: directory for the results; None for `artifacts/explain-<model>-<8 hex of the file>`.

    Raises:
        CxrKerasError: the model cannot be used, or the class names do not fit it.
    """

    several = False

    def __init__(
        self,
        file: str | Path,
        *,
        classes: str | Path | None = None,
        image_size: int | None = None,
        pixel_range: tuple[float, float] = FILM_RANGE,
        out: Path | None = None,
    ) -> None:
        super().__init__()
        self.file = Path(file)
        self.classifier: SavedModel = saved_model(self.file, image_size=image_size, pixel_range=pixel_range)
        self.classes = class_names(classes, self.classifier.n_classes)
        self._hash = sha256_file(self.file)
        self.run = Run(out or ARTIFACTS / f"explain-{self.file.stem}-{self._hash[:8]}")
        self.config = Config(data=DataSettings(path=str(self.file)))

    @property
    def reading(self) -> str:
        """How films are read, where that is not 0..255, as a suffix of file names: `--0..1`."""
        low, high = self.classifier.pixel_range
        return "" if (low, high) == FILM_RANGE else f"--{low:g}..{high:g}"

    def checkpoint_hash(self, epoch: int) -> str:
        """SHA-256 of the model's file, and how it reads films, where that is not the film's own range."""
        del epoch
        return self._hash + self.reading

    def load(self, epoch: int) -> str:
        """The weights are the file's own."""
        return self.checkpoint_hash(epoch)


def class_names(file: str | Path | None, count: int) -> tuple[str, ...]:
    """Class names from a file, one a line, or `0`, `1`, … without one.

    Raises:
        DataError: the file cannot be read, repeats a name, or does not name `count` classes.
    """
    if file is None:
        return tuple(map(str, range(count)))
    try:
        names = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"class names {file} cannot be read ({error}). Expected a text file, one name a line."
        ) from error
    names = [name for name in names if name]
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"class names {file} do not fit the model. Expected {count} different names, one a line, in the order of "
            f"its outputs; received {len(names)}: {', '.join(names[:8])}."
        )
    return tuple(names)
