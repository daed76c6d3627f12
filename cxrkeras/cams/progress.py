"""Count forward passes for a progress display: done, and to do as far as it is known."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


class ForwardCounter:
    """Forwards done and to do; what later films will need is bounded by the layer's channels.

    Args:
        progress: called with (done, in all) after every report; None to count in silence.
        n_films: how many films will come, None where a stream does not say.
    """

    def __init__(self, progress: Progress | None, n_films: int | None) -> None:
        self._progress, self._n_films = progress, n_films
        self._seen = self._done = self._planned = self._open = self._most = 0
        self._each = 1

    def plan(self, films: int, most: int, certain: int = 0) -> None:
        """Announce a batch that will need `certain` and at most `most` further forwards per film."""
        self._each, self._most = 1 + certain, most
        self._seen, self._planned = self._seen + films, self._planned + films * self._each
        self._open = films * most

    def replan(self, forwards: int) -> None:
        """Replace that bound by the number the batch does need."""
        self._planned, self._open = self._planned + forwards, 0

    def report(self, forwards: int) -> None:
        """Count forwards as done."""
        self._done += forwards
        if self._progress is not None:
            later = max((self._n_films or 0) - self._seen, 0) * (self._each + self._most)
            self._progress(self._done, self._planned + self._open + later)
