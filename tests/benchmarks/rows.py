"""The rows of the table and the targets they have to keep, made from the figures of the jobs.

Pure: figures in, rows out; measures nothing and imports no TensorFlow.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from measure import Row, Target, best, flatness, timed_row

BATCHES, PEER_BATCH = (1, 8, 32), 8
FOUR, MULTISCALE = "gradcam,gradcam++,layercam,eigencam", "ms-gradcam++"
NAMES = {FOUR: "gradcam + gradcam++ + layercam + eigencam", MULTISCALE: MULTISCALE, f"{FOUR},{MULTISCALE}": "all five"}
LIMITS = {FOUR: Target(1.10), MULTISCALE: Target(2.2)}
PEER_SPEED, SCORECAM_RATE = Target(10, at_least=True), Target(0.95, at_least=True)
SCORECAM_SPEED, SCORECAM_MEMORY = Target(1.8, at_least=True), Target(0.25)
FLAT, COVERAGE, FIRST_CALL = Target(0.10), Target(0.95, at_least=True), Target(1.5)

Figures = dict[str, Any]
Times = dict[str, list[float]]


def forwards_of(times: Times) -> Times:
    """The bare forwards among the timings."""
    return {label: values for label, values in times.items() if label.startswith("forward ")}


def forward_rows(backbone: str, times: Times) -> Iterator[Row]:
    """The eight bare forwards; the best is marked."""
    forwards = forwards_of(times)
    leader = best(forwards)
    for label, values in forwards.items():
        _, batch, compiler = label.split()
        row = Row(
            f"bare forward, {compiler}", backbone, int(batch), over="best", note="best" if label == leader else ""
        )
        yield timed_row(row, values, forwards[leader])


def gradient_rows(backbone: str, times: Times) -> Iterator[Row]:
    """Ours over the best bare forward, and tf-keras-vis over ours at the same batch."""
    forward = times[best(forwards_of(times))]
    for methods in (FOUR, MULTISCALE):
        for batch in BATCHES:
            target = LIMITS[methods] if batch == max(BATCHES) else None
            row = Row(NAMES[methods], backbone, batch, over="best forward", target=target)
            yield timed_row(row, times[f"{methods} {batch}"], forward)
    peer = {label: values for label, values in times.items() if label.startswith("tf-keras-vis")}
    for label, values in peer.items():
        yield timed_row(Row(label, backbone, PEER_BATCH), values)
    if peer:
        together = sum(statistics.median(values) for values in peer.values())
        ratio = together / statistics.median(times[f"{FOUR} {PEER_BATCH}"])
        row = Row("tf-keras-vis, its three methods", backbone, PEER_BATCH, together, repeats=1, ratio=ratio)
        yield replace(row, over=f"our four, batch {PEER_BATCH}", target=PEER_SPEED)


def peer_rows(backbone: str, times: Times, forward: str) -> Iterator[Row]:
    """A peer's methods over a forward that was timed beside them."""
    for label, values in times.items():
        if label.startswith("forward "):
            continue
        over = "" if label == forward else forward if forward.startswith("torch") else "best forward"
        row = Row(label, backbone, PEER_BATCH, over=over)
        yield timed_row(row, values, times[forward] if over else None)


def rate_row(backbone: str, figures: Figures, forward: str, note: str) -> Row:
    """ScoreCAM's masks per second over the images per second measured between its packs."""
    row = Row("scorecam exact, per mask", backbone, target=SCORECAM_RATE, over=f"best forward ({forward})")
    as_times = [[1000 / rate for rate in figures[key]] for key in ("masks", "images")]
    filled = timed_row(row, *as_times)
    return replace(filled, ratio=1 / filled.ratio, note=f"{figures['live']} live channels, {note}")


def film_rows(backbone: str, ours: Figures, peer: Figures | None, note: str) -> Iterator[Row]:
    """One film through exact ScoreCAM, ours and the peer's: time and memory."""
    for name, figures in (("ours", ours), ("tf-keras-vis", peer)):
        if figures:
            what = f"scorecam exact, one film, {name}"
            yield Row(what, backbone, 1, figures["seconds"] * 1000, None, 1, peak_mb=figures["peak_mb"], note=note)
    if peer:
        speed = peer["seconds"] / ours["seconds"]
        memory = ours["peak_mb"] / peer["peak_mb"]
        yield Row("tf-keras-vis scorecam: time", backbone, 1, ratio=speed, over="ours", target=SCORECAM_SPEED)
        yield Row("our scorecam: peak memory", backbone, 1, ratio=memory, over="tf-keras-vis", target=SCORECAM_MEMORY)


def memory_rows(peaks: dict[tuple[int, int], Figures]) -> Iterator[Row]:
    """ScoreCAM's peak for each number of films and channels, and how far these are apart."""
    for (films, channels), figures in peaks.items():
        ms = figures["seconds"] * 1000 / films
        what = f"scorecam, {films} films, {channels} channels"
        yield Row(what, "synthetic 64 px", ms=ms, repeats=1, peak_mb=figures["peak_mb"])
    spread = flatness([figures["peak_mb"] for figures in peaks.values()])
    yield Row("scorecam peak memory, ± of the middle", "synthetic 64 px", ratio=spread, target=FLAT)


def tolerance_rows(figures: Figures, tolerated: float) -> Iterator[Row]:
    """How often the error was within the stated half-width, and what the sampled maps cost."""
    told = [film for film in figures["films"] if not film["uninformative"]]
    left_out = len(figures["films"]) - len(told)
    what = f"scorecam tolerance={tolerated:.2f}"
    if not told:
        yield Row(f"{what}: error within half-width", figures["backbone"], target=COVERAGE, note="all uninformative")
        return
    share = sum(film["error"] <= film["stated"] for film in told) / len(told)
    used = statistics.median(film["used"] / film["live"] for film in told)
    worst = max(film["error"] for film in told)
    shared = {"backbone": figures["backbone"], "batch": 1, "repeats": len(told)}
    drawn_out = sum(film["used"] == film["live"] for film in told)
    note = f"epoch {figures['epoch']}; largest error {worst:.3f}; {drawn_out} exact; {left_out} uninformative left out"
    yield Row(f"{what}: films within half-width", ratio=share, over="films", target=COVERAGE, note=note, **shared)
    exact, sampled = ([film["seconds"][i] * 1000 for film in told] for i in (0, 1))
    row = Row(f"{what}: time", over="exact", note=f"channels used / live {used:.2f}", **shared)
    yield timed_row(row, sampled, exact)


def first_call_rows(backbone: str, seconds: Times, batch: int) -> Iterator[Row]:
    """First calls in fresh processes, tracing included, over the first call of the bare forward."""
    for what, values in seconds.items():
        row = Row(f"first call, {NAMES.get(what, what)}", backbone, batch, over="first forward")
        target = FIRST_CALL if what == FOUR else None
        times = ([value * 1000 / batch for value in values], [value * 1000 / batch for value in seconds["forward"]])
        yield replace(timed_row(row, *times), target=target)
