"""A gallery of runs and methods: which films it shows, that its numbers are those of the maps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras import maps
from cxrkeras.errors import RunError, TargetError, UsageError
from cxrkeras.localization import film_localization, parse_threshold
from cxrkeras.run import Run
from cxrkeras.tables import HISTORY_COLUMNS, read_csv
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.gallery import gallery as module
from cxrkeras.workflow.gallery import maps as gallery_maps
from cxrkeras.workflow.gallery.films import Marks, chosen_rows
from cxrkeras.workflow.gallery.gallery import checkpoints, gallery, printed_gallery
from cxrkeras.workflow.gallery.maps import Explained, cell_of, numbers_of
from cxrkeras.workflow.localize.films import own_masks
from cxrkeras.workflow.localize.models import Model
from cxrkeras.workflow.map_options import map_options
from cxrkeras.workflow.selection import select


@pytest.fixture
def page(monkeypatch):
    """What the last gallery drew: rows, columns and options."""
    seen = {}

    def spy(target, rows, columns, **options):
        seen.update(rows=rows, columns=columns, **options)
        target.touch()

    monkeypatch.setattr(module, "save_gallery", spy)
    return seen


def marks_of(opened, selection):
    return Marks(own_masks(opened, selection), {})


def test_films_are_taken_in_turn_and_marked_ones_first():
    groups = np.array([0] * 20 + [1] * 3 + [2] * 20)
    none = np.zeros(43, bool)
    counts = np.bincount(groups[chosen_rows(groups, none, 0, None, 8)])
    assert counts.tolist() == [3, 2, 3] or counts.tolist() == [3, 3, 2]
    assert np.bincount(groups[chosen_rows(groups, none, 0, 5, None)]).tolist() == [5, 3, 5]
    marked = none.copy()
    marked[[4, 9, 21, 40]] = True
    assert set(chosen_rows(groups, marked, 0, None, 6)) > {4, 9, 21, 40}
    assert chosen_rows(groups, marked, 0, 1, None).tolist()[1:] == [21, 40]


def test_films_are_drawn_with_the_seed_and_shown_in_order():
    groups = np.repeat([1, 0], 50)
    first, again, other = (chosen_rows(groups, groups < 0, seed, None, 8) for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()
    assert groups[first].tolist() == [0] * 4 + [1] * 4
    assert (np.diff(first[:4]) > 0).all()


def test_numbers_are_those_of_the_stored_maps(opened, page):
    selection = select(opened)
    models = [Model(opened, 1), Model(opened, 4)]
    made = gallery(models, selection, ["gradcam++", "layercam"], {}, marks=marks_of(opened, selection))
    assert page["columns"] == [f"copy@{epoch}\n{method}" for epoch in (1, 4) for method in ("gradcam++", "layercam")]
    assert len(page["rows"]) == 8
    assert len(made.table) == 32
    assert page["watermark"] == ""
    options = map_options(opened, selection)
    for model in models:
        stored = ensure(opened, model.epoch, selection, ["layercam"], options)["layercam"]
        own = made.table[(made.table["epoch"] == model.epoch) & (made.table["method"] == "layercam")]
        for shown, row in zip(page["rows"], own.to_dict("records"), strict=True):
            one = stored.subset([row["image"]])
            cell = shown.cells[f"{model.name}\nlayercam"]
            assert np.array_equal(cell.heat, one.values[0])
            assert row["prob"] == pytest.approx(one.probabilities[0, one.targets[0]])
            scored = film_localization(one.values[0], shown.outline, threshold=parse_threshold("otsu"))
            assert {name: row[name] for name in scored} == pytest.approx(scored, nan_ok=True)
            assert cell.lines[1].startswith(f"IoU {scored['iou']:.3f} · hit {'yes' if scored['hit'] else 'no'}")


def test_the_outline_is_the_films_own_mask_and_the_class_is_named(opened, page, phantom_folder):
    selection = select(opened)
    gallery([Model(opened, 4)], selection, ["layercam"], {}, marks=marks_of(opened, selection))
    masks = opened.frame.set_index("path")["mask"]
    for row in page["rows"]:
        (name,) = [path for path in masks.index if path.endswith(row.name)]
        assert np.array_equal(row.outline, np.asarray(Image.open(phantom_folder / masks[name])) > 0)
        label = opened.frame.set_index("path")["label"][name]
        assert row.caption == (f"class {label}", f"marked {label}")
    assert page["columns"] == ["layercam"]


def test_without_marks_there_are_probabilities_only(opened, page):
    made = gallery([Model(opened, 4)], select(opened), ["layercam"], {}, target=opened.classes[0], limit=2)
    assert set(made.table["class"]) == {opened.classes[0]}
    assert made.table["iou"].isna().all()
    assert set(made.table["status"]) == {"not_marked"}
    assert list(printed_gallery(made.table)) == ["image", "class", "run", "epoch", "method", "prob"]
    assert all(len(row.cells["layercam"].lines) == 1 and row.outline is None for row in page["rows"])
    assert len(page["rows"]) == 2 * len(opened.classes)
    assert page["note"] == ""


def test_a_page_and_its_numbers_are_written_beside_each_other(opened, tmp_path):
    selection = select(opened)
    options = {"marks": marks_of(opened, selection), "limit": 1}
    made = gallery([Model(opened, 4)], selection, ["layercam"], {}, **options)
    assert made.picture.parent == opened.run.path / "galleries"
    assert np.asarray(Image.open(made.picture)).ndim == 3
    stored = read_csv(made.picture.with_suffix(".csv"))
    assert stored["iou"].tolist() == pytest.approx(made.table["iou"].tolist(), nan_ok=True)
    assert list(printed_gallery(made.table))[-4:] == ["iou", "hit", "mass", "status"]
    assert gallery([Model(opened, 4)], selection, ["layercam"], {}, **options).picture == made.picture
    there = gallery([Model(opened, 4)], selection, ["layercam"], {}, out=tmp_path / "p.png", **options)
    assert there.picture == tmp_path / "p.png"
    assert (tmp_path / "p.csv").exists()
    inside = gallery([Model(opened, 4)], selection, ["layercam"], {}, out=tmp_path / "pages", **options)
    assert inside.picture == tmp_path / "pages" / made.picture.name
    with pytest.raises(UsageError, match=r"End it with \.png"):
        gallery([Model(opened, 4)], selection, ["layercam"], {}, out=tmp_path / "p.jpeg", **options)


def test_another_run_explains_the_same_files(opened, page, tmp_path):
    other = Run(opened.run.path.rename(tmp_path / "other"))
    models = checkpoints([f"{other.path}@1", str(other.path), f"{other.path}@best"], "4")
    assert [model.epoch for model in models] == [1, 4, other.resolve_epoch("best")]
    assert models[0].opened is models[1].opened is models[2].opened
    # the same films, read by a run that pads them; square films fill its input
    config = opened.config.model_copy(update={"data": opened.config.data.model_copy(update={"resize": "pad"})})
    twin = models[1].opened
    opened.run, twin.config, twin.classifier, twin._explainers = other, config, opened.classifier, opened._explainers
    made = gallery([Model(opened, 1), Model(twin, 4)], select(opened), ["layercam"], {}, limit=1)
    assert [page["columns"], len(page["rows"])] == [["other@1", "other@4"], 2]
    assert made.table.groupby("epoch")["image"].agg(tuple).nunique() == 1


def test_a_map_on_the_mark_scores_one_and_only_the_films_part_of_a_padded_map_counts():
    truth = np.zeros((20, 40), bool)
    truth[5:10, 8:16] = True
    # the film fills the middle half of a square input
    region = (0.25, 0.0, 0.75, 1.0)
    square = np.zeros((40, 40), np.float32)
    square[10:30] = truth
    square[0, 0] = 9
    one = Explained(square, "ok", 0.9, "relu", "00000000")
    numbers = numbers_of(one, truth, region)
    assert [numbers[name] for name in ("iou", "hit", "mass")] == pytest.approx([1, 1, 1])
    assert numbers_of(one, np.kron(truth, np.ones((3, 3), bool)), region)["hit"] == 1
    cell = cell_of(one, numbers, truth.shape, region)
    assert np.array_equal(cell.heat, maps.resize(square[None], (20, 40), region)[0])
    assert cell.lines == ("p = 0.900", "IoU 1.000 · hit yes", "mass 1.000")
    blank = replace(one, heat=np.zeros((40, 40), np.float32), status="degenerate")
    empty = numbers_of(blank, truth, region)
    assert cell_of(blank, empty, truth.shape, region).lines == ("p = 0.900", "IoU – · hit –", "mass –")


def test_a_head_that_was_never_trained_is_refused_or_marked(opened, page):
    opened.run.write_history(pd.DataFrame(columns=HISTORY_COLUMNS))
    with pytest.raises(RunError, match="was never trained"):
        gallery([Model(opened, 4)], select(opened), ["layercam"], {})
    made = gallery([Model(opened, 4)], select(opened), ["layercam"], {}, limit=1, allow_untrained=True)
    assert page["watermark"] == "head not trained"
    assert page["columns"] == ["layercam\nhead not trained"]
    assert set(made.table["trained"]) == {"no"}


def test_what_cannot_be_compared_is_refused(opened, monkeypatch):
    selection = select(opened)
    with pytest.raises(UsageError, match="Received twice: copy@4"):
        gallery([Model(opened, 4), Model(opened, 4)], selection, ["layercam"], {})
    with pytest.raises(TargetError, match="Received --target PNEUMONEA"):
        gallery([Model(opened, 4)], selection, ["layercam"], {}, target="PNEUMONEA")
    monkeypatch.setattr(gallery_maps, "ensure", lambda *_: pytest.fail("maps were made for a page that cannot be"))
    with pytest.raises(UsageError, match="holds 1 to 12 films"):
        gallery([Model(opened, 4)], selection, ["layercam"], {}, limit=7)
    unknown = replace(selection, films=replace(selection.films, labels=np.full(len(selection), -1)))
    with pytest.raises(TargetError, match="Name one with --target CLASS"):
        gallery([Model(opened, 4)], unknown, ["layercam"], {})
    stranger = SimpleNamespace(classes=("A", "B"), run=opened.run, frame=opened.frame)
    with pytest.raises(UsageError, match="has no class"):
        gallery([Model(opened, 4), Model(stranger, 3)], selection, ["layercam"], {})
