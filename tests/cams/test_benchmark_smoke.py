"""The benchmark's arithmetic on known numbers, and two of its jobs on a 32 px net; nothing here is a timing."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
FOUR, MULTISCALE = "gradcam,gradcam++,layercam,eigencam", "ms-gradcam++"


@pytest.fixture(scope="module", autouse=True)
def benchmark_modules():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for name in ("cams", "jobs", "measure", "peers", "rows"):
        sys.modules.pop(name, None)


def test_a_target_is_met_on_its_own_side_and_never_by_a_missing_figure():
    from measure import Row, Target

    assert [Target(1.1).met(value) for value in (1.1, 1.11, float("nan"))] == [True, False, False]
    assert [Target(0.95, at_least=True).met(value) for value in (0.95, 0.94)] == [True, False]
    assert Row("x", ratio=1.0).met == ""
    assert Row("x", ratio=1.0, target=Target(1.1)).met == "yes"
    assert Row("x", target=Target(1.1)).met == "no"


def test_a_ratio_is_the_median_of_the_ratios_round_by_round():
    from measure import Row, timed_row

    # the machine is twice as slow in the last round: a ratio of medians would be 2.0 / 1.2
    row = timed_row(Row("x"), [2.0, 2.0, 4.8], [1.0, 1.2, 2.4])
    assert (row.ms, row.iqr, row.repeats, row.ratio) == (2.0, pytest.approx(1.4), 3, 2.0)
    partly = timed_row(Row("x"), [3.0, float("nan"), 5.0])
    assert (partly.ms, partly.repeats, partly.ratio) == (4.0, 2, None)


def test_calls_are_timed_in_turn_and_a_beaten_contender_is_dropped(monkeypatch):
    import measure

    clock, order = [0.0], []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def work(name, seconds, films, contender):
        def call():
            order.append(name)
            clock[0] += seconds

        return measure.Work(call, films, contender)

    works = {
        "fast": work("fast", 1.0, 10, True),
        "slow": work("slow", 1.6, 10, True),
        "ours": work("ours", 8, 4, False),
    }
    times = measure.side_by_side(works, 4)
    assert order[3:9] == ["fast", "slow", "ours"] * 2
    assert times["fast"] == pytest.approx([100.0] * 4)
    assert times["ours"] == pytest.approx([2000.0] * 4)
    assert times["slow"] == pytest.approx([160.0, 160.0, np.nan, np.nan], nan_ok=True)
    assert measure.best(times) == "fast"


def test_the_gradient_rows_divide_by_the_best_forward_whatever_its_batch_and_compiler():
    from rows import forward_rows, gradient_rows

    times = {"forward 1 tf": [50.0] * 3, "forward 32 tf": [40.0] * 3, "forward 16 xla": [32.0] * 3}
    times |= {f"{FOUR} {batch}": [35.2] * 3 for batch in (1, 8)} | {f"{FOUR} 32": [35.3] * 3}
    times |= {f"{MULTISCALE} {batch}": [64.0] * 3 for batch in (1, 8, 32)}
    times |= {"tf-keras-vis Gradcam": [100.0], "tf-keras-vis Layercam": [252.0]}
    assert [row.note for row in forward_rows("net", times)] == ["", "", "best"]
    rows = {(row.what, row.batch): row for row in gradient_rows("net", times)}
    four = rows["gradcam + gradcam++ + layercam + eigencam", 32]
    assert four.ratio == pytest.approx(35.3 / 32)
    assert (four.met, rows["gradcam + gradcam++ + layercam + eigencam", 8].met) == ("no", "")
    assert rows[MULTISCALE, 32].met == "yes"
    peer = rows["tf-keras-vis, its three methods", 8]
    assert (peer.ms, peer.ratio, peer.met) == (352.0, pytest.approx(10.0), "yes")


def test_the_scorecam_rows_compare_rates_times_and_peaks_the_right_way_round():
    from rows import film_rows, memory_rows, rate_row

    rate = rate_row("net", {"masks": [19.0, 19.0], "images": [20.0, 20.0], "live": 7}, "forward 32 tf", "")
    assert (rate.ratio, rate.met) == (pytest.approx(0.95), "yes")
    ours, peer = {"seconds": 50.0, "peak_mb": 1000.0}, {"seconds": 89.0, "peak_mb": 4000.0}
    *_, speed, memory = film_rows("net", ours, peer, "")
    assert (speed.ratio, speed.met) == (pytest.approx(1.78), "no")
    assert (memory.ratio, memory.met) == (0.25, "yes")
    assert len(list(film_rows("net", ours, None, ""))) == 1
    peaks = {(1, 512): 90.0, (8, 512): 100.0, (1, 2048): 110.0}
    *_, flat = memory_rows({case: {"peak_mb": peak, "seconds": 1.0} for case, peak in peaks.items()})
    assert (flat.ratio, flat.met) == (pytest.approx(0.1), "yes")


def test_a_peer_is_divided_by_the_forward_that_was_timed_beside_it():
    from rows import peer_rows

    forward, cam = peer_rows("torch", {"torch forward": [200.0], "pytorch-grad-cam GradCAM": [300.0]}, "torch forward")
    assert (forward.ms, forward.ratio, forward.iqr) == (200.0, None, None)
    assert (cam.ratio, cam.over) == (1.5, "torch forward")
    (other,) = peer_rows("net", {"forward 16 xla": [30.0, 40.0], "xplique GradCAM": [45.0, 60.0]}, "forward 16 xla")
    assert (other.what, other.ratio, other.over) == ("xplique GradCAM", 1.5, "best forward")


def test_tolerance_counts_only_films_whose_weights_say_something():
    from rows import tolerance_rows

    def film(error, stated, uninformative=False):
        shared = {"uninformative": uninformative, "used": 64, "live": 128, "seconds": [4.0, 1.0]}
        return {"error": error, "stated": stated, **shared}

    films = [film(0.05, 0.08), film(0.08, 0.08), film(0.02, 0.09), film(0.09, 0.08), film(0.9, 0.1, True)]
    share, cost = tolerance_rows({"films": films, "backbone": "net", "epoch": 3}, 0.1)
    assert (share.ratio, share.met, share.repeats) == (0.75, "no", 4)
    assert "1 uninformative" in share.note
    assert (cost.ms, cost.ratio) == (1000.0, 0.25)
    (none,) = tolerance_rows({"films": [film(0, 1, True)], "backbone": "net", "epoch": 3}, 0.1)
    assert none.met == "no"


def test_first_calls_are_divided_by_the_first_call_of_the_forward():
    from rows import first_call_rows

    seconds = {"forward": [4.0, 4.0, 8.0], FOUR: [5.0, 6.0, 12.0], f"{FOUR},{MULTISCALE}": [8.0, 8.0, 16.0]}
    forward, four, both = first_call_rows("net", seconds, 8)
    assert [row.ratio for row in (forward, four, both)] == [1.0, 1.5, 2.0]
    assert [row.met for row in (forward, four, both)] == ["", "yes", ""]
    assert four.ms == pytest.approx(6.0 * 1000 / 8)


def test_a_job_hands_back_figures_or_says_what_is_missing(monkeypatch, tmp_path):
    import cams

    script = tmp_path / "jobs.py"
    monkeypatch.setattr(cams, "JOBS", script)
    script.write_text("import sys\nprint('noise')\nprint(sys.argv[2])")
    assert cams.run_job("x", side=32, weights=None) == {"side": 32, "weights": None}
    script.write_text("import a_peer_that_is_absent")
    with pytest.raises(cams.JobFailed, match=r"^not installed: 'a_peer_that_is_absent'$"):
        cams.run_job("x")
    script.write_text("raise ValueError('too small')")
    with pytest.raises(cams.JobFailed, match=r"^failed: ValueError: too small$"):
        cams.run_job("x")


def test_the_table_says_the_same_as_text_and_as_csv():
    from measure import COLUMNS, Row, Target, as_text

    rows = [Row("four, together", "net", 32, 35.26, 0.3, 5, 1.0841, "best forward", target=Target(1.1))]
    header, line = as_text(rows, "csv").splitlines()
    assert header == ",".join(COLUMNS)
    assert line == '"four, together",net,32,35.3,0.3,5,1.084,best forward,,≤ 1.10,yes,'
    cells = [cell.strip() for cell in as_text(rows, "text").splitlines()[-1].strip("|").split("|")]
    assert cells == [
        "four, together",
        "net",
        "32",
        "35.3",
        "0.3",
        "5",
        "1.084",
        "best forward",
        "",
        "≤ 1.10",
        "yes",
        "",
    ]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the mark can be set back on Linux only")
def test_peak_memory_counts_what_was_freed_again_and_forgets_what_came_before():
    from measure import PeakMemory

    earlier = np.ones(300 * 2**20, np.uint8)
    del earlier
    memory = PeakMemory()
    held = np.ones(100 * 2**20, np.uint8)
    del held
    assert memory.rise() == pytest.approx(100, abs=20)


def test_the_scorecam_jobs_count_each_live_channel_once():
    import jobs

    model = build_classifier(backbone("compact"), ("a", "b"), 32).model
    tapped = keras.Model(model.inputs[0], model.get_layer("stride8_relu").output)
    live = int((tapped(jobs.smooth_films(1, 32)).numpy() != 0).any((0, 1, 2)).sum())
    rates = jobs.scorecam_rate("compact", 32, None, None, "forward 8 tf", every=16)
    assert rates["live"] == live
    # the first pack is traced and not timed; a figure for every 16 masks after it at most
    assert 0 < len(rates["masks"]) == len(rates["images"]) <= live // 16
    assert min(rates["masks"] + rates["images"]) > 0
    one, two = (jobs.scorecam_memory(films=n, channels=8, side=32) for n in (1, 2))
    assert 0 < one["forwards"] <= 8
    assert one["forwards"] < two["forwards"] <= 16
