"""Heat on film: the pixels, one annotated picture, and a page of many.

Arrays in, PNG out. Knows no run, no model and no method; how a map was made arrives as words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cxrkeras import maps
from cxrkeras.errors import FilmError, ScoreInputError, UsageError
from cxrkeras.render import style
from cxrkeras.render.outline import draw_outline, outline_legend

# Lightness rises steadily and no colour is grey, so heat never passes for bone; readable with every colour blindness.
COLOURS = "plasma"
ALPHA = 0.6
MAX_TILES = 48
MAX_LINES = 12

_MEANING = {
    "degenerate": "the map is constant or not finite, so the film is shown without heat",
    "grid_too_coarse": "the map has fewer than 3 × 3 cells",
    "uninformative": "the channel weights carry no evidence for the class",
    "approximate": "estimated from a sample of the channels",
    "ambiguous_sign": "the sign of the component is a convention",
}


def overlay(film: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over its film.

    The map is resized (bilinear, half-pixel centres), min-maxed to ``t`` in [0, 1] and blended as
    ``(1 - 0.6 t) · film + 0.6 t · colour(t)``: no heat leaves the film as it is.

    Args:
        film: grey film ``[H, W]``, 0..255; values outside are clipped.
        heat: raw map ``[h, w]`` at its native grid, any range.

    Returns:
        RGB uint8 ``[H, W, 3]``; a degenerate map gives the film in grey.

    Raises:
        FilmError: the film is not a finite ``[H, W]`` array.
        ScoreInputError: the map is not ``[h, w]``.
    """
    film, heat = _checked_film(film), _checked_heat(heat)
    grey = np.repeat(film[..., None], 3, axis=2)
    if is_degenerate(heat):
        return np.rint(grey).astype(np.uint8)
    return _blend(grey, maps.min_max(maps.resize(heat[None], film.shape))[0])


def is_degenerate(heat: np.ndarray, status: str = "ok") -> bool:
    """Tell whether a map ``[h, w]`` has nothing to show, by its status or by its values."""
    return status == "degenerate" or bool(maps.degenerate(np.asarray(heat)[None])[0])


def caption(class_name: str, probability: float) -> str:
    """Return class and probability as the two lines under a tile."""
    return f"{class_name}\n{probability_text(probability)}"


def probability_text(probability: float) -> str:
    """Return ``p = 0.970``; never rounded to certainty (``p > 0.999``), and ``p –`` where it is not known."""
    if not math.isfinite(probability):
        return "p –"
    if 0.9995 <= probability < 1:
        return "p > 0.999"
    if 0 < probability < 0.0005:
        return "p < 0.001"
    return f"p = {probability:.3f}"


def save_overlay(
    target: style.Target,
    film: np.ndarray,
    heat: np.ndarray,
    *,
    class_name: str,
    probability: float,
    method: str,
    layer: str = "",
    epoch: int | None = None,
    status: str = "ok",
    title: str = "",
    outline: np.ndarray | None = None,
    lines: Sequence[str] = (),
    watermark: str = "",
) -> None:
    """Write film and heat side by side, with everything needed to read them.

    Args:
        target: path or binary file that receives the PNG (8.6 inches wide at 150 dpi).
        film: grey film ``[H, W]``, 0..255.
        heat: raw map ``[h, w]`` at its native grid.
        class_name: class the map explains.
        probability: the model's probability of that class.
        method: method name.
        layer: tapped layer; empty leaves it out.
        epoch: checkpoint; None leaves it out.
        status: the map's status; anything but ``ok`` is printed under the picture.
        title: headline, usually the film's name.
        outline: an expert's mask, bool ``[Ho, Wo]`` at its own size; it covers the whole film, and its border is drawn
            over both panels.
        lines: further lines under the picture, such as where the map lies; each cut in the middle where too long.
        watermark: a warning across the whole picture.

    Raises:
        FilmError: the film is not a finite ``[H, W]`` array.
        ScoreInputError: the map is not ``[h, w]``, or the mask not ``[Ho, Wo]``.
    """
    film, heat = _checked_film(film), _checked_heat(heat)
    status = "degenerate" if is_degenerate(heat, status) else status
    side, margin, gap = 3.6, 0.3, 0.2
    height = float(np.clip(side * film.shape[0] / film.shape[1], 1.6, 4.6))
    head, foot = (0.85 if title else 0.6), (0.65 if status != "ok" else 0.4) + 0.17 * len(lines)
    with style.drawing():
        fig = style.new_figure(8.6, head + height + foot)
        text_width = 8.6 - 2 * margin
        if title:
            style.label(fig, margin, 0.15, title, text_width, fontsize=style.TITLE_SIZE, weight="bold")
        facts = [method, f"layer {layer}" if layer else "", f"epoch {epoch}" if epoch is not None else ""]
        line = {"top": head - 0.22, "va": "baseline"}
        right = style.label(
            fig, 8.6 - margin, text=" · ".join(filter(None, facts)), width=4.2, ha="right", color=style.QUIET, **line
        )
        room = text_width - style.width_of(right) - 1.35
        name = style.label(fig, margin, text=class_name, width=room, weight="bold", **line)
        after = margin + style.width_of(name) + 0.12
        style.label(fig, after, text=probability_text(probability), width=0.95, **line)
        for column, (shown, words) in enumerate(
            ((None, "film"), (heat, f"{method}, grid {heat.shape[0]} × {heat.shape[1]}"))
        ):
            left = margin + column * (side + gap)
            box = (left, head, side, height)
            show_picture(fig, box, film, shown, status if shown is heat else "ok", outline)
            style.label(fig, left + side / 2, head + height + 0.07, words, side, ha="center", fontsize=style.SMALL_SIZE)
        if outline is not None:
            outline_legend(fig, margin + side, head + height + 0.07)
        for place, words in enumerate(lines):
            style.label(fig, margin, head + height + 0.3 + 0.17 * place, words, text_width, fontsize=style.SMALL_SIZE)
        if status != "degenerate":
            colour_bar(fig, margin + 2 * side + gap + 0.1, head, 0.11, height)
        if status != "ok":
            notice = f"{status}: {_MEANING[status]}" if status in _MEANING else f"status: {status}"
            top = head + height + 0.34 + 0.17 * len(lines)
            style.label(fig, margin, top, notice, text_width, color=style.ALERT, weight="bold")
        style.watermark(fig, watermark)
        style.write_png(fig, target)


def contact_sheet(
    target: style.Target,
    films: Sequence[np.ndarray],
    heats: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    title: str = "",
    columns: int = 6,
    statuses: Sequence[str] | None = None,
) -> None:
    """Write a page of overlays with one shared colour bar.

    Args:
        target: path or binary file that receives the PNG.
        films: up to 48 grey films, each ``[H, W]``, 0..255; sizes may differ.
        heats: one raw map ``[h, w]`` a film.
        captions: one or two lines a film, see `caption`; each cut in the middle where too long.
        title: headline of the page.
        columns: tiles in a row, 1..12; a page holds at most 12 rows.
        statuses: one map status a film; anything but ``ok`` is printed on its tile.

    Raises:
        UsageError: no tile, more than a page holds, or an impossible number of columns.
        ScoreInputError: the sequences differ in length, or a map is not ``[h, w]``.
        FilmError: a film is not a finite ``[H, W]`` array.
    """
    statuses = ["ok"] * len(films) if statuses is None else list(statuses)
    _check_page(len(films), columns, heats=len(heats), captions=len(captions), statuses=len(statuses))
    films = [_checked_film(film) for film in films]
    across, margin, gap, line = min(columns, len(films)), 0.3, 0.12, 0.145
    text = 0.12 + line * (2 if any("\n" in words for words in captions) else 1)
    side = float(np.clip((10.0 - 2 * margin - 0.65 - gap * (across - 1)) / across, 1.3, 2.2))
    width = max(2 * margin + 0.65 + across * side + (across - 1) * gap, 4.0)
    height = float(np.clip(side * np.median([f.shape[0] / f.shape[1] for f in films]), 0.6 * side, 1.4 * side))
    head, rows = (0.55 if title else 0.2), math.ceil(len(films) / across)
    with style.drawing():
        fig = style.new_figure(width, head + rows * (height + text) + 0.15)
        if title:
            style.label(fig, margin, 0.15, title, width - 2 * margin, fontsize=style.TITLE_SIZE, weight="bold")
        for place, (film, heat, words, status) in enumerate(zip(films, heats, captions, statuses, strict=True)):
            row, column = divmod(place, across)
            left, top = margin + column * (side + gap), head + row * (height + text)
            show_picture(fig, (left, top, side, height), film, heat, status)
            for place_of_line, words_of_line in enumerate(words.split("\n", 1)):
                y = top + height + 0.04 + place_of_line * line
                style.label(fig, left, y, words_of_line, side, fontsize=style.SMALL_SIZE)
        colour_bar(fig, margin + across * (side + gap), head, 0.11, min(height, 2.2))
        style.write_png(fig, target)


def show_picture(
    fig: Figure,
    box: tuple[float, float, float, float],
    film: np.ndarray,
    heat: np.ndarray | None,
    status: str = "ok",
    outline: np.ndarray | None = None,
) -> Axes:
    """Fit a film ``[H, W]``, with its map unless None, into a box of inches; name a status other than ok on it.

    An outline is a mask of the whole film at its own size, whose border is drawn.
    """
    film = _checked_film(film)
    left, top, width, height = box
    scale = min(width / film.shape[1], height / film.shape[0])
    shown_w, shown_h = film.shape[1] * scale, film.shape[0] * scale
    ax = style.panel(fig, left + (width - shown_w) / 2, top + (height - shown_h) / 2, shown_w, shown_h)
    blank = heat is None or is_degenerate(_checked_heat(heat), status)
    pixels = max(1, round(shown_h * fig.dpi)), max(1, round(shown_w * fig.dpi))
    # A map finer than the panel is averaged down as a picture: resizing it first would drop its peaks.
    finest = pixels if blank else np.maximum(pixels, np.shape(heat))
    film = np.asarray(_resampled(Image.fromarray(film), finest))
    picture = Image.fromarray(overlay(film, np.zeros((1, 1)) if blank else heat))
    ax.imshow(np.asarray(_resampled(picture, pixels)), interpolation="nearest", aspect="auto")
    ax.set_axis_off()
    if outline is not None:
        draw_outline(ax, outline)
    if heat is not None and blank:
        status = "degenerate"
    if status != "ok":
        word = status.replace("_", " ")
        plate = {"facecolor": "white", "alpha": 0.9, "edgecolor": style.ALERT, "boxstyle": "square,pad=0.25"}
        size = style.TEXT_SIZE if width > 2.5 else style.SMALL_SIZE - 1
        artist = ax.text(
            0.5, 0.03, style.printable(word), transform=ax.transAxes, ha="center", va="bottom",
            color=style.ALERT, fontsize=size, bbox=plate,
        )  # fmt: skip
        style.shortened(artist, shown_w - 0.15)
    return ax


def colour_bar(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Draw the heat scale as it looks on a mid-grey film, in inches, with ticks at 0, ½ and 1 on its right."""
    ax = style.panel(fig, left, top, width, height)
    steps = np.linspace(1, 0, 256, dtype=np.float32)[:, None]
    ax.imshow(_blend(np.full((256, 1, 3), 128.0, np.float32), steps), extent=(0, 1, 0, 1), aspect="auto")
    ax.set_xticks([])
    ax.yaxis.tick_right()
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.yaxis.set_label_position("right")
    ax.set_ylabel("heat, min–max", fontsize=style.SMALL_SIZE, labelpad=5)
    ax.spines[:].set_visible(False)
    return ax


def _blend(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    colour = colormaps[COLOURS](heat.astype(np.float64))[..., :3] * 255
    weight = ALPHA * heat[..., None]
    return np.rint((1 - weight) * grey + weight * colour).astype(np.uint8)


def _resampled(picture: Image.Image, size: Sequence[int]) -> Image.Image:
    return picture.resize((int(size[1]), int(size[0])), Image.Resampling.BILINEAR)


def _checked_film(film: np.ndarray) -> np.ndarray:
    film = np.asarray(film, np.float32)
    if film.ndim != 2 or film.size == 0:
        raise FilmError(
            f"a film to draw must be one grey plane [H, W]. Received shape {film.shape}. Drop the channels."
        )
    if not np.isfinite(film).all():
        raise FilmError("a film to draw must be finite, 0..255. Received NaN or infinity. Decode the file again.")
    return np.clip(film, 0, 255)


def _checked_heat(heat: np.ndarray) -> np.ndarray:
    heat = np.asarray(heat, np.float32)
    if heat.ndim != 2 or heat.size == 0:
        raise ScoreInputError(f"a map to draw must be [h, w]. Received shape {heat.shape}. Pass one map at a time.")
    return heat


def _check_page(films: int, columns: int, **others: int) -> None:
    if not 1 <= columns <= MAX_LINES:
        raise UsageError(f"columns must be 1..{MAX_LINES}. Received {columns}.")
    most = min(MAX_TILES, MAX_LINES * columns)
    if not 1 <= films <= most:
        raise UsageError(
            f"a page of {columns} columns holds 1..{most} films. Received {films}. Split the films into several pages."
        )
    for name, count in others.items():
        if count != films:
            raise ScoreInputError(f"expected {films} {name}, one per film. Received {count}.")
