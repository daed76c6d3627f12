"""Figures as SVG that can stand in a page beside others: text stays text, and no two share an id.

Knows no page and no figure's content.
"""

from __future__ import annotations

import io
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
# these are how the serialiser writes the two names without a prefix of its own
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def svg_texts(figure: Figure, name: str) -> tuple[str, str]:
    """Return a figure as SVG for the inside of a page, and as a file of its own.

    The one for a page leaves its size to the page and is hidden from screen readers, which read the text beside it.
    The same figure and name give the same two texts.

    Args:
        figure: drawn with the house style.
        name: stands before every id, so that figures of different names can share a page.

    Returns:
        XML without a declaration, twice; texts of the figure are escaped.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    _rename(root, name)
    alone = ElementTree.tostring(root, encoding="unicode")
    # its one rule would reach every drawing of the page, which has a rule of its own
    for child in root.findall(f"{{{_SVG}}}defs"):
        if child.find(f"{{{_SVG}}}style") is not None:
            root.remove(child)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"class": "chart", "aria-hidden": "true", "focusable": "false"}
    return ElementTree.tostring(root, encoding="unicode"), alone


def _rename(root: ElementTree.Element, name: str) -> None:
    """Give ids that are referred to names of this figure's own, and drop the others."""
    known = {element.get("id"): f"{name}-{place}" for place, element in enumerate(root.iter()) if element.get("id")}
    used = set()
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            own = value[1:] if key == _HREF else value[5:-1] if value.startswith("url(#") else ""
            if own in known:
                element.set(key, value.replace(own, known[own]))
                used.add(own)
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.set("id", known[own])
