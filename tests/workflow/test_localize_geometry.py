"""A film as its own map: whatever its shape, orientation and marks, the bright place is found where it was marked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data.annotations import read_annotations
from cxrkeras.data.images import decode_film
from cxrkeras.localization import film_localization
from cxrkeras.workflow.localize.films import annotated_films
from cxrkeras.workflow.selection import select

# (height, width) of the films as they are seen, and x, y, w, h of what is bright on each
FILMS = {"wide": ((100, 240), (150, 20, 60, 30)), "tall": ((300, 90), (10, 200, 50, 60))}
ORIENTATIONS = (1, 3, 6, 8, 5, 9)
# how a picture that is seen upright lies in a file of that orientation
LYING = {
    1: lambda seen: seen,
    3: lambda seen: np.rot90(seen, 2),
    5: lambda seen: seen.T,
    6: lambda seen: np.rot90(seen, 1),
    8: lambda seen: np.rot90(seen, -1),
    # there is none
    9: lambda seen: seen,
}


@pytest.mark.parametrize("grid", [16, 512])
@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_a_bright_place_is_found_where_it_was_marked(opened, tmp_path, resize, grid):
    folder, lines, expected = tmp_path / "films" / "lobar", ["image,finding,x,y,w,h,image_width,image_height"], {}
    folder.mkdir(parents=True)
    for shape, ((height, width), (x, y, w, h)) in FILMS.items():
        seen = np.zeros((height, width), np.uint8)
        seen[y : y + h, x : x + w] = 255
        for orientation, scale in zip(ORIENTATIONS, (1, 2, 0.5, 1, 3, 1), strict=True):
            film, exif = f"{shape}{orientation}.png", Image.Exif()
            exif[0x0112] = orientation
            Image.fromarray(np.ascontiguousarray(LYING[orientation](seen))).save(folder / film, exif=exif)
            box = ",".join(str(side * scale) for side in (x, y, w, h))
            lines.append(f"{film},lobar,{box},{int(width * scale)},{int(height * scale)}")
            expected[film] = (int(height * scale), int(width * scale)), w * h / (width * height)
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    data = opened.config.data.model_copy(update={"resize": resize})
    opened.config = opened.config.model_copy(update={"data": data})
    selection = select(opened, data=folder.parent, out=tmp_path / "out")
    truth = annotated_films(opened, selection, read_annotations(tmp_path / "boxes.csv"))
    assert len(truth) == len(expected)
    side = opened.classifier.image_size
    for i, member in enumerate(truth.members):
        size, area = expected[member.image.rpartition("/")[2]]
        seen = decode_film(folder.parent / member.image, (side, side), resize)
        heat = np.asarray(Image.fromarray(seen).resize((grid, grid), Image.Resampling.BILINEAR))
        region = truth.region(i, opened)
        assert (region is None) == (resize == "squash")
        found = film_localization(heat, truth.truth(i), threshold="fixed:0.5", region=region)
        assert truth.truth(i).shape == size
        assert found["area_gt"] == pytest.approx(area, abs=0.002)
        assert found["hit"] == 1, member.image
        # as exact as a cell of a coarse map is
        assert found["iou"] > (0.5 if grid == 16 else 0.85), (member.image, found["iou"])
        if resize == "pad":
            whole = film_localization(heat, truth.truth(i), threshold="fixed:0.5")
            assert whole["iou"] < found["iou"] - 0.2, member.image
