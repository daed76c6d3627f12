"""Measure the scores of all pairs of maps: the compiled kernel, SciPy's pdist and a NumPy pair loop, side by side.

`python tests/benchmarks/pairs.py [--quick] [--case N:GRID …] [--repeats N] [--sampled N …] [--format text|csv]`; not
run by pytest. Every case runs in its own process; ours is timed as `c_score` uses it, with weights and patient sums,
pdist alone. What is running goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import MIB, PeakMemory, Target, Work, as_text, side_by_side

CASES = ((200, 7), (1000, 7), (5000, 7), (200, 56), (1000, 56), (5000, 56), (200, 224), (1000, 224))
COLUMNS = ("what", "n", "grid", "µs/pair", "IQR", "repeats", "figure", "of", "target", "met", "note")
SPEED, AGREEMENT, TEMPORARIES = Target(1.5, at_least=True), Target(1e-6), Target(1.0)
STDERR, MINUTE = Target(0.002), Target(60.0)
LOOPED, NATIVE = 2000, 7
OURS, SCIPY, NUMPY = "compiled kernel", "SciPy pdist, one core", "NumPy pair loop"


@dataclass(frozen=True)
class Row:
    """One line of the table; what does not apply is empty."""

    what: str
    n: int
    grid: int
    times: tuple[float, ...] = ()
    figure: float | None = None
    of: str = ""
    target: Target | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `COLUMNS`."""
        median = f"{np.median(self.times):.3f}" if self.times else ""
        spread = f"{np.subtract(*np.percentile(self.times, [75, 25])):.3f}" if len(self.times) > 1 else ""
        repeats = str(len(self.times)) if self.times else ""
        figure = "" if self.figure is None else f"{self.figure:.3g}"
        target = "" if self.target is None else f"{'≥' if self.target.at_least else '≤'} {self.target.limit:g}"
        met = "" if self.target is None else "yes" if self.target.met(self.figure) else "no"
        grid = f"{self.grid}×{self.grid}"
        return self.what, str(self.n), grid, median, spread, repeats, figure, self.of, target, met, self.note


def all_pairs(n: int, grid: int, repeats: int) -> dict[str, Any]:
    """Time the three, compare ours with SciPy pair by pair, and measure our temporaries."""
    from scipy.spatial.distance import pdist

    from cxrkeras.consistency import pairs
    from cxrkeras.consistency.emphasis import EmphasisedMaps
    from cxrkeras.consistency.gold import GoldList

    rng = np.random.default_rng(0)
    maps = EmphasisedMaps(rng.random((n, NATIVE, NATIVE)), np.zeros(n, dtype=bool), (grid, grid), 2.0)
    rows = np.arange(n)
    gold = GoldList(rows, rng.uniform(0.7, 1, n), rows // 2, np.ones((n, 1), dtype=bool))
    count = n * (n - 1) // 2
    chosen = "compiled" if count * maps.cells >= pairs.COMPILED_FROM else "SciPy"
    pairs.COMPILED_FROM = 0
    rules = {"kind": "product", "drop_same_patient": True}

    def ours() -> None:
        pairs.pair_sums(maps, gold, None, n_patients=n, **rules)

    start = time.perf_counter()
    ours()
    first = time.perf_counter() - start
    memory = PeakMemory()
    ours()
    peak = memory.rise()
    values = maps.rows(rows).astype(np.float64)
    left, right = rng.integers(0, n, (2, LOOPED))

    def loop() -> None:
        for i, j in zip(left, right, strict=True):
            np.minimum(values[i], values[j]).sum() / np.maximum(values[i], values[j]).sum()

    works = {
        OURS: Work(ours, count),
        SCIPY: Work(lambda: pdist(values, "cityblock"), count),
        NUMPY: Work(loop, LOOPED),
    }
    times = side_by_side(works, repeats)
    distances, sums, worst = pdist(values, "cityblock"), values.sum(axis=1), 0.0
    for tile in pairs.scored_tiles(maps, gold, None, **rules):
        i, j = (part.astype(np.int64) for part in np.ogrid[tile.rows, tile.columns])
        i, j = np.broadcast_arrays(i, j)
        place = (i * (2 * n - i - 1) // 2 + j - i - 1)[i < j]
        both = (sums[i] + sums[j])[i < j]
        oracle = (both - distances[place]) / (both + distances[place])
        worst = max(worst, float(np.abs(tile.scores[0][i < j] - oracle).max()))
    return {
        "times": {label: [1000 * value for value in row] for label, row in times.items()},
        "worst": worst,
        "peak": peak,
        "limit": max(0.5 * n * grid * grid * 4 / MIB, 64),
        "first": first,
        "chosen": chosen,
    }


def sampled(n: int, grid: int) -> dict[str, Any]:
    """Time the score of n maps of one class from drawn pairs."""
    from cxrkeras.consistency import c_score

    rng = np.random.default_rng(0)
    values, confidence = rng.random((n, NATIVE, NATIVE), dtype=np.float32), rng.uniform(0.7, 1, n)
    probabilities, labels = np.stack([confidence, 1 - confidence], axis=1), np.zeros(n, dtype=int)
    memory, start = PeakMemory(), time.perf_counter()
    row = c_score(values, labels, probabilities, patients=np.arange(n) // 3, grid=grid).per_class.iloc[0]
    seconds = time.perf_counter() - start
    errors = {name: float(row[name]) for name in ("stderr", "sampling_stderr")}
    return {"seconds": seconds, "peak": memory.rise(), "pairs": int(row["n_pairs"]), **errors}


def pair_rows(n: int, grid: int, figures: dict[str, Any]) -> Iterator[Row]:
    """The rows of one case of `all_pairs`."""
    times = {label: tuple(values) for label, values in figures["times"].items()}
    note = f"c_score takes {figures['chosen']}; first call {figures['first']:.1f} s, TensorFlow's import included"
    yield Row(OURS, n, grid, times[OURS], note=note)
    for peer in (SCIPY, NUMPY):
        ratio = float(np.median(np.divide(times[peer], times[OURS])))
        aimed = peer == SCIPY and n >= 1000 and grid >= 56
        yield Row(peer, n, grid, times[peer], ratio, "ours", SPEED if aimed else None)
    yield Row("largest difference of a score", n, grid, figure=figures["worst"], of="from SciPy", target=AGREEMENT)
    share, note = figures["peak"] / figures["limit"], f"{figures['peak']:.0f} MB of {figures['limit']:.0f} MB"
    yield Row("temporaries", n, grid, figure=share, of="max(half the maps, 64 MB)", target=TEMPORARIES, note=note)


def sampled_rows(n: int, grid: int, figures: dict[str, Any]) -> Iterator[Row]:
    """The rows of one case of `sampled`."""
    note = f"{figures['pairs']} pairs drawn; {figures['peak']:.0f} MB above the raw maps"
    yield Row("sampled score: seconds", n, grid, figure=figures["seconds"], of="s", target=MINUTE, note=note)
    note = f"total with patients {figures['stderr']:.2g}"
    yield Row("sampled score: sampling error", n, grid, figure=figures["sampling_stderr"], target=STDERR, note=note)


def in_own_process(job: str, **settings: Any) -> dict[str, Any]:
    """Run one case in a fresh process and return its figures."""
    print(f"{time.strftime('%H:%M:%S')} {job}: {settings}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--job", json.dumps([job, settings])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} {settings} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 maps and 3000 drawn ones: does it all run?")
    parser.add_argument("--case", nargs="+", metavar="N:GRID", help="maps and cells a side, for example 1000:56")
    parser.add_argument("--sampled", nargs="*", type=int, default=[100_000], help="maps scored from drawn pairs")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of the interleaved timings")
    parser.add_argument("--format", choices=("text", "csv"), default="text")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job, settings = json.loads(options.job)
        print(json.dumps({"pairs": all_pairs, "sampled": sampled}[job](**settings)))
        return
    cases = [tuple(map(int, case.split(":"))) for case in options.case or ()] or CASES
    large = options.sampled
    if options.quick:
        cases, large = [(200, 7), (200, 56)], [3000]
    rows: list[Row] = []
    for n, grid in cases:
        rows += pair_rows(n, grid, in_own_process("pairs", n=n, grid=grid, repeats=options.repeats))
    for n in large:
        rows += sampled_rows(n, 56, in_own_process("sampled", n=n, grid=56))
    print(as_text(rows, options.format, COLUMNS), end="")


if __name__ == "__main__":
    main()
