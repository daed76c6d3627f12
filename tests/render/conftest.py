"""Where every text of a picture ends up, so that layouts can be tested."""

import pytest
from matplotlib.text import Text

from cxrkeras.render import style


@pytest.fixture
def drawn_texts(monkeypatch):
    """Return a function that draws a picture and gives its visible texts as ``(text, box)`` and its size in pixels."""

    def texts_of(draw, *args, **options):
        visible, found, size = [], [], []
        draw_text = Text.draw

        def spy(self, *a, **k):
            visible.append(self)
            return draw_text(self, *a, **k)

        def take(fig, target):
            renderer = fig.canvas.get_renderer()
            fig.draw(renderer)
            # Ticks beyond the axes have texts that are never drawn, so only what is drawn counts.
            with monkeypatch.context() as spying:
                spying.setattr(Text, "draw", spy)
                fig.draw(renderer)
            found.extend((t.get_text(), t.get_window_extent(renderer)) for t in visible if t.get_text())
            size.extend(fig.bbox.size)

        with monkeypatch.context() as writing:
            writing.setattr(style, "write_png", take)
            draw("", *args, **options)
        return found, size

    return texts_of


@pytest.fixture
def assert_apart_and_inside():
    """Return a check that texts neither touch each other nor leave the picture."""

    def check(texts, size):
        for i, (text, box) in enumerate(texts):
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= size[0], text
            assert box.y1 <= size[1], text
            for other, other_box in texts[i + 1 :]:
                across = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
                along = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
                # A box includes room above and below the letters; two pixels of it may be shared.
                assert min(across, along) <= 2, (text, other)

    return check
