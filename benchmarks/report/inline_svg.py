"""A matplotlib figure as SVG within a page: no addresses, unique identifiers, the page's colours, and tips."""

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl

from benchmarks.report.plots import LIGHT, Plot

_COLOURS = {value: f"var(--{name})" for name, value in LIGHT.items()}
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(plot: Plot, prefix: str) -> str:
    """Convert the figure to one <svg>. `prefix` must be unique within the page.

    Text stays text. An element whose gid is a key of the plot's tips gets `data-tip`, which the page's script shows, and a
    name for screen readers. The same figure gives the same bytes.
    """
    data = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "text.parse_math": False}):
        plot.figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(readable(data.getvalue().decode()))
    _remove(root, "metadata", "style")
    targets = {f"#{value}" for element in root.iter() for value in _referenced(element)}
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items() if not name.endswith("}space")}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id":
                if value in plot.tips:
                    element.set("data-tip", readable(plot.tips[value]))
                    element.set("role", "img")
                    element.set("aria-label", readable(plot.tips[value]).replace("\n", "; "))
                if f"#{value}" in targets:
                    element.set("id", f"{prefix}-{value}")
            elif name == "href":
                element.set(name, f"#{prefix}-{value.removeprefix('#')}")
            else:
                element.set(name, _HEX.sub(_variable, _REFERENCE.sub(rf"url(#{prefix}-\1)", value)))
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "group")
    root.set("aria-label", plot.title)
    return ElementTree.tostring(root, encoding="unicode")


def readable(words: str) -> str:
    """Replace every character that XML and HTML must not contain."""
    return _NO_XML.sub("\ufffd", words)


def _variable(colour: re.Match[str]) -> str:
    return _COLOURS.get(colour.group().lower(), colour.group())


def _referenced(element: ElementTree.Element) -> list[str]:
    names = [name for value in element.attrib.values() for name in _REFERENCE.findall(value)]
    return names + [value.removeprefix("#") for name, value in element.attrib.items() if name.endswith("href")]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _remove(root: ElementTree.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in tags]:
            parent.remove(child)
