"""The viewer's data: every map where it belongs, at its native grid, with its status; and numbers as words."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxrkeras.render.overlay import overlay
from cxrkeras.report.page import with_films
from cxrkeras.report.viewer import LARGEST_GRID, stills, viewer_payload
from cxrkeras.report.words import interval, listed, number, plain_reason

EPOCHS, METHODS = (2, 4, 6, 8), ("gradcam", "eigencam", "ms-gradcam++")


def cells(stored: dict) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(stored["cells"]), np.uint8)
    return values.reshape(-1, *stored["grid"])


def picture(uri: str) -> np.ndarray:
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), np.float64)


def test_every_map_is_where_it_belongs(fake_run):
    payload = json.loads(json.dumps(viewer_payload(fake_run.viewer, [6])))
    (run,) = payload["runs"]
    assert run["start"] == EPOCHS.index(6)
    for place, epoch in enumerate(EPOCHS):
        stored = run["maps"]["0|1"][str(place)]
        assert stored["native"] == stored["grid"] == [3, 3]
        for film in range(6):
            hot = cells(stored)[stored["places"][film]]
            wanted = np.zeros((3, 3))
            wanted[0, (EPOCHS.index(epoch) + film) % 3] = 255
            assert hot.tolist() == wanted.tolist()


def test_degenerate_and_absent_maps_say_so(fake_run):
    (run,) = viewer_payload(fake_run.viewer, [None])["runs"]
    assert run["start"] == len(EPOCHS) - 1
    first = run["maps"]["1|0"]["0"]
    assert first["status"] == ["degenerate", "ok", "ok", "ok", "ok", "ok"]
    assert first["places"][0] is None
    labels_only = run["maps"]["2|0"]["0"]
    assert labels_only["status"] == ["ok", "", "ok", "", "ok", ""]
    assert labels_only["places"] == [0, None, 1, None, 2, None]


def test_gold_films_are_correct_and_confident(fake_run):
    (run,) = viewer_payload(fake_run.viewer, [None])["runs"]
    # .6, .7, .8, .9 for the label and a threshold of .7; film 1 is always wrong
    assert run["gold"] == [[False] * 6, *[[True, False, True, True, True, True]] * 3]
    assert run["probabilities"][1][1] == [0.8, 0.2]
    broken = replace(fake_run.viewer.runs[0], probabilities=np.full((4, 6, 2), np.nan))
    (shown,) = viewer_payload(replace(fake_run.viewer, runs=(broken,)), [None])["runs"]
    assert shown["probabilities"][0][0] == [None, None]
    assert not any(map(any, shown["gold"]))


@pytest.mark.parametrize(("side", "peak"), [(64, (40, 9)), (33, (32, 0))])
def test_maps_as_large_as_the_film_are_averaged_over_blocks(fake_run, side, peak):
    part = fake_run.viewer.runs[0].maps[0]
    values = np.zeros((len(part.films), side, side), np.float32)
    values[(slice(None), *peak)] = 1
    run = replace(fake_run.viewer.runs[0], maps=(replace(part, values=values),))
    stored = viewer_payload(replace(fake_run.viewer, runs=(run,)), [None])["runs"][0]["maps"]["0|0"]["0"]
    assert stored["native"] == [side, side]
    assert stored["grid"] == [LARGEST_GRID, LARGEST_GRID]
    row, column = np.unravel_index(cells(stored)[0].argmax(), (LARGEST_GRID, LARGEST_GRID))
    assert (row, column) == (peak[0] * LARGEST_GRID // side, peak[1] * LARGEST_GRID // side)
    assert (cells(stored)[0] > 0).sum() == 1


def test_stills_are_the_overlays_of_the_label(fake_run):
    ((title, epoch, shown),) = stills(fake_run.viewer, [6])
    assert (title, epoch) == ("ResNet50V2", 6)
    assert len(shown) == 4
    name, words, pictures = shown[0]
    assert name == fake_run.viewer.films[0].image
    assert words == "NORMAL, p = 0.800"
    assert [still.method for still in pictures] == list(METHODS)
    heat = np.zeros((3, 3), np.float32)
    heat[0, 2] = 1
    wanted = overlay(fake_run.viewer.films[0].picture, heat).astype(float)
    assert np.abs(picture(pictures[0].uri) - wanted).mean() < 3
    (page,) = stills(fake_run.viewer, [None])
    assert page[1] == 8
    (early,) = stills(fake_run.viewer, [2])
    assert [still.status for still in early[2][0][2]] == ["ok", "degenerate", "ok"]


def test_fewer_films_keep_their_maps(fake_run):
    fewer = with_films(fake_run.viewer, 3)
    (run,) = viewer_payload(fewer, [None])["runs"]
    assert len(run["probabilities"][0]) == 3
    (whole,) = viewer_payload(fake_run.viewer, [None])["runs"]
    for key, epochs in run["maps"].items():
        for epoch, stored in epochs.items():
            other = whole["maps"][key][epoch]
            assert stored["status"] == other["status"][:3]
            for film in range(3):
                if stored["places"][film] is not None:
                    mine, theirs = (cells(part)[part["places"][film]] for part in (stored, other))
                    assert mine.tolist() == theirs.tolist()


def test_numbers_as_words():
    assert number(-0.12345) == "−0.123"
    assert number(float("nan"), "too_few_patients") == "undefined (too few patients)"
    assert number(-0.0001, digits=2) == "0.00"
    assert number(None, "ok") == "undefined (not measured)"
    assert number(float("inf")) == "∞"
    assert interval(0.6, 0.5, 0.7, digits=2) == "0.60 [0.50, 0.70]"
    assert interval(0.6, float("nan"), 0.7) == "0.600"
    assert interval(float("nan"), 0.1, 0.2, "no_baseline") == "undefined (no baseline)"
    assert plain_reason(float("nan")) == "not measured"
    assert listed(["a", "b", "c"]) == "a, b and c"
