"""Measure the CAM engines against the bare forward and against their peers, and print one table.

`python tests/benchmarks/cams.py [--quick] [--only SECTION …] [--backbone NAME …] [--format text|csv]`; not run by
pytest. Every measurement runs in its own process (`jobs.py`); this one only starts them and makes rows of their
figures (`rows.py`), so it imports no TensorFlow. What is running goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import Row, as_text, best
from rows import (
    BATCHES,
    FOUR,
    MULTISCALE,
    PEER_BATCH,
    Figures,
    Times,
    film_rows,
    first_call_rows,
    forward_rows,
    forwards_of,
    gradient_rows,
    memory_rows,
    peer_rows,
    rate_row,
    tolerance_rows,
)

JOBS = Path(__file__).with_name("jobs.py")
SECTIONS = ("gradient", "scorecam", "memory", "tolerance", "first-call")
SIDES = {"ResNet50V2": 224, "DenseNet201": 224, "InceptionV3": 299, "compact": 96}
PEERED = "ResNet50V2"


class JobFailed(Exception):
    """A measurement could not be made; its message says why in a few words."""


def run_job(job: str, **settings: Any) -> Figures:
    """Run one measurement in a fresh process and return its figures."""
    shown = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
    print(f"{time.strftime('%H:%M:%S')} {job}: {shown}", file=sys.stderr, flush=True)
    command = [sys.executable, str(JOBS), job, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"killed (exit code {done.returncode})"])[-1]
        missing = last.removeprefix("ModuleNotFoundError: No module named ")
        raise JobFailed(f"failed: {last}"[:160] if missing == last else f"not installed: {missing}")
    return json.loads(done.stdout.splitlines()[-1])


class Benchmark:
    """The chosen sections on the chosen backbones; remembers which bare forward was the best of each."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.failed = options, False
        self._best: dict[str, str] = {}

    def rows(self) -> Iterator[Row]:
        """Measure and yield rows section by section; a job that fails is a row that says why."""
        sections = {
            "gradient": self._gradient,
            "scorecam": self._scorecam,
            "memory": self._memory,
            "tolerance": self._tolerance,
            "first-call": self._first_call,
        }
        for name in self.options.only or SECTIONS:
            yield from sections[name]()

    def _guarded(self, what: str, backbone: str, make: Callable[[], Iterator[Row]], peer: bool = False) -> list[Row]:
        try:
            return list(make())
        except JobFailed as failure:
            self.failed |= not (peer and str(failure).startswith("not installed"))
            return [Row(what, backbone, note=str(failure))]

    def _gradient(self) -> Iterator[Row]:
        for name in self.options.backbone:
            yield from self._guarded("gradient methods", name, lambda name=name: self._gradient_of(name))
            if name in self._best:
                yield from self._guarded("xplique", name, lambda name=name: self._xplique_of(name), peer=True)
        if PEERED in self.options.backbone:
            yield from self._guarded("pytorch-grad-cam", PEERED, self._torch, peer=True)

    def _gradient_of(self, name: str) -> Iterator[Row]:
        times = self._timings(name, BATCHES, peer=True)
        yield from forward_rows(name, times)
        yield from gradient_rows(name, times)

    def _xplique_of(self, name: str) -> Iterator[Row]:
        forward = self._best[name]
        figures = run_job("xplique", name=name, side=self._side(name), repeats=self.options.repeats, forward=forward)
        yield from peer_rows(name, figures["times"], forward)

    def _torch(self) -> Iterator[Row]:
        figures = run_job("torch", side=self._side(PEERED), repeats=1)
        yield from peer_rows("ResNet50V2-like, torch", figures["times"], "torch forward")

    def _timings(self, name: str, batches: tuple[int, ...], peer: bool) -> Times:
        settings = {"side": self._side(name), "repeats": self.options.repeats, "batches": batches, "peer": peer}
        times = run_job("timings", name=name, **settings)["times"]
        self._best[name] = best(forwards_of(times))
        return times

    def _scorecam(self) -> Iterator[Row]:
        for name in self.options.backbone:
            yield from self._guarded("scorecam, per mask", name, lambda name=name: self._rate_of(name))
        name = PEERED if PEERED in self.options.backbone else self.options.backbone[0]
        yield from self._guarded("scorecam, one film", name, lambda: self._film_of(name))

    def _rate_of(self, name: str) -> Iterator[Row]:
        if name not in self._best:
            yield from forward_rows(name, self._timings(name, (), peer=False))
        settings, note = self._film(name)
        every = 32 if self.options.quick else 256
        yield rate_row(
            name, run_job("scorecam_rate", forward=self._best[name], every=every, **settings), self._best[name], note
        )

    def _film_of(self, name: str) -> Iterator[Row]:
        settings, note = self._film(name)
        ours = run_job("scorecam_film", engine="ours", **settings)
        peer = run_job("scorecam_film", engine="tf-keras-vis", **settings) if self.options.peer_scorecam else None
        yield from film_rows(name, ours, peer, note)

    def _film(self, name: str) -> tuple[dict[str, Any], str]:
        weights = self.options.weights if name == PEERED else None
        note = ", ".join(("trained" if weights else "random weights", "film" if self.options.image else "random film"))
        return {"name": name, "side": self._side(name), "weights": weights, "image": self.options.image}, note

    def _memory(self) -> Iterator[Row]:
        films = (1, 8) if self.options.quick else (1, 8, 64)
        cases = [(n, channels) for channels in (512, 2048) for n in films]

        def make() -> Iterator[Row]:
            return memory_rows({(n, k): run_job("scorecam_memory", films=n, channels=k) for n, k in cases})

        yield from self._guarded("scorecam peak memory", "synthetic 64 px", make)

    def _tolerance(self) -> Iterator[Row]:
        if self.options.run is None:
            if self.options.only:
                yield Row("scorecam tolerance", note="needs --run PATH, a run with a trained checkpoint")
            return
        settings = {"films": self.options.films, "tolerated": self.options.tolerance, "seed": 0}

        def make() -> Iterator[Row]:
            return tolerance_rows(run_job("tolerance", run=self.options.run, **settings), self.options.tolerance)

        yield from self._guarded("scorecam tolerance", self.options.run, make)

    def _first_call(self) -> Iterator[Row]:
        for name in self.options.backbone:
            yield from self._guarded("first call", name, lambda name=name: self._first_call_of(name))

    def _first_call_of(self, name: str) -> Iterator[Row]:
        seconds: Times = {"forward": [], FOUR: [], f"{FOUR},{MULTISCALE}": []}
        for _ in range(1 if self.options.quick else 3):
            for what, values in seconds.items():
                job = {"what": what, "name": name, "side": self._side(name), "batch": PEER_BATCH}
                values.append(run_job("first_call", **job)["seconds"])
        yield from first_call_rows(name, seconds, PEER_BATCH)

    def _side(self, name: str) -> int:
        return self.options.size or SIDES[name]


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; `--quick` stands for the compact backbone and few repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="compact backbone, 96 px, 3 repeats: does it all run?")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections; all by default")
    parser.add_argument("--backbone", nargs="+", choices=SIDES, help="all but compact by default")
    parser.add_argument("--size", type=int, help="image side in pixels; the backbone's own by default")
    parser.add_argument("--repeats", type=int, help="rounds of the interleaved timings, 5 by default")
    parser.add_argument("--format", choices=("text", "csv"), default="text")
    parser.add_argument("--peer-scorecam", action="store_true", help="time tf-keras-vis' ScoreCAM too: 7 GB, minutes")
    parser.add_argument("--weights", help=f"our checkpoint (.weights.h5, two classes) of {PEERED}, for scorecam")
    parser.add_argument("--image", help="film for scorecam; a smooth random one by default")
    parser.add_argument("--run", help="run directory for tolerance; without it that section is left out")
    parser.add_argument("--films", type=int, default=20, help="test films for tolerance")
    parser.add_argument("--tolerance", type=float, default=0.10)
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (3 if options.quick else 5)
    options.backbone = options.backbone or (["compact"] if options.quick else [n for n in SIDES if n != "compact"])
    return options


def main() -> None:
    """Measure, print the table, and exit with 1 if a measurement failed; Ctrl-C prints what was measured so far."""
    benchmark, rows = Benchmark(parsed()), []
    try:
        for row in benchmark.rows():
            rows.append(row)
    finally:
        print(as_text(rows, benchmark.options.format), end="")
    sys.exit(int(benchmark.failed))


if __name__ == "__main__":
    main()
