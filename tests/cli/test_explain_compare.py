"""`cxrkeras explain --compare` as a user types it."""

import json

import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("RUN_B",), "'RUN_B' stands alone"),
        (("--boxes", "b.csv"), "--boxes belongs to --compare"),
        (("--map", "A=B"), "--map belongs to --compare"),
        (("--compare", "A", "B", "--run", "C"), "--run explains one run or model"),
        (("--compare", "A", "--model", "m.keras"), "--model explains one run or model"),
        (("--compare", "A", "B", "--overlays", "3"), "--overlays explains one run or model"),
        (("--compare", "A", "--target", "predicted"), "--compare explains one class a film for all"),
        (("--compare", "A", "--boxes", "b.csv", "--masks", "m"), "name one"),
        (("--compare", "A", "--image", "a.png", "--limit", "2"), "--image names the films itself"),
        (("--compare", "A", "--box-size", "512"), "give them with --boxes or --masks"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cx, typed, words):
    code, _, err = cx("explain", *typed)
    assert code == 2
    assert words in " ".join(err.split())


def test_a_file_is_no_folder_for_maps(cx, tmp_path):
    (tmp_path / "there.txt").touch()
    code, _, err = cx("explain", "--out", "there.txt")
    assert code == 2
    assert "is a file" in err


def test_runs_are_named_one_after_another(cx, run_copy, phantom_folder):
    typed = ("explain", "--compare", f"{run_copy.path}@1", run_copy.path, "--masks", phantom_folder, "--limit", "2")
    code, out, _ = cx(*typed, "--method", "layercam", "--out", "page.png", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 8
    assert [row["epoch"] for row in rows[:2]] == [1, 4]
    assert {row["method"] for row in rows} == {"layercam"}
    assert sum(row["iou"] is not None for row in rows) >= 4
    with Image.open("page.png") as page:
        assert page.size[0] > 800
