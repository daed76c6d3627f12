"""`localize` from outside: what it prints and stores, and what it refuses."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

FEW = ("--method", "gradcam,eigencam", "--overlays", "0")


def test_the_phantom_is_scored_against_its_own_masks(cx, run_copy, tmp_path):
    code, out, err = cx("localize", "--run", run_copy.path, *FEW, "--draws", "1", "--against", f"{run_copy.path}@4")
    assert code == 0, err
    for words in (
        "copy, epoch 4, split test: marks ",
        "chance: random_weights",
        "lobar: significantly above every kind of chance (area, centre, mean_mask, random_weights; Holm): IoU cannot",
        "Maps without contrast, left out of the means and counted as 0 in mean_zero: ",
        "difference of runs on the same films",
    ):
        assert words in out, words
    assert "marks: the masks of the films themselves" in err
    assert "lobar → lobar" in err
    folder = run_copy.path / "localization" / "epoch_004" / "test"
    assert {file.name for file in folder.iterdir() if file.suffix != ".lock"} == {
        "films.csv", "chance_films.csv", "summary.csv", "chance.csv", "comparisons.csv", "terciles.csv", "summary.png",
    }  # fmt: skip
    assert not (run_copy.path / "overlays").exists()

    places = tmp_path / "places.csv"
    stored = pd.read_csv(run_copy.path / "manifest.csv").dropna(subset="mask")
    places.write_text(
        "image,label,x,y,w,h\n"
        + "".join(f"{r.path},Opacity,{r.box_x},{r.box_y},{r.box_w},{r.box_h}\n" for r in stored.itertuples())
    )
    boxes = ("--boxes", places, "--box-size", "64", "--map", "Opacity=lobar", "--no-chance")
    code, out, err = cx("localize", "--run", run_copy.path, *FEW, *boxes, "--format", "csv")
    assert code == 0, err
    table = pd.read_csv(io.StringIO(out))
    assert set(table["finding"]) == {"Opacity"}
    assert set(table["class"]) == {"lobar"}
    assert table["method"].unique().tolist() == ["gradcam", "eigencam"]
    assert table.loc[table["metric"] == "iou", "chance"].notna().all()
    assert "Opacity → lobar" in err
    # boxes around the masks, beside the rows of the masks
    kept = pd.read_csv(folder / "summary.csv")
    assert kept.groupby("finding").size().to_dict() == {"lobar": len(table), "Opacity": len(table)}

    code, out, _ = cx("localize", "--run", run_copy.path, *FEW, *boxes, "--format", "json", "--epoch", "3")
    assert code == 0
    told = json.loads(out)
    assert {row["metric"] for row in told["terciles"]} == {"iou"}
    assert told["chance"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slice", "full"), "--slice full and --cutoff P go together"),
        (("--cutoff", "0.5"), "--slice full and --cutoff P go together"),
        (("--threshold", "tuned"), "--threshold tuned and --tune-on FILE go together"),
        (("--threshold", "fixed"), "threshold 'fixed' received None"),
        (("--boxes", "a.csv", "--masks", "b"), "name one"),
        (("--box-size", "64by64"), "is no size in pixels"),
        (("--finding", "lobar"), "give them with --boxes or --masks"),
        (("--map", "lobar"), "'lobar' is not FINDING=CLASS. Example: \"Lung Opacity=PNEUMONIA\""),
        (("--map-class", "lobar"), "'lobar' is not THEIRS=OURS. Example: \"NO_FINDING=NORMAL\""),
        (("--method", "gradcm"), "Did you mean 'gradcam'"),
        (("--map", "Nodule=lobar"), "'Nodule' is not annotated. Expected one of: lobar"),
    ],
)
def test_wrong_usage(cx, run_copy, arguments, message):
    code, out, err = cx("localize", "--run", run_copy.path, *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
