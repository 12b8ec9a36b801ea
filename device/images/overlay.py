"""What viewers see when something is wrong: a placeholder frame without a picture, a stamp on a picture that was not restored."""

from dataclasses import replace

import cv2
import numpy as np

from device.images.frame import NO_VIDEO, Image
from device.images.yuv import Plane, Yuv

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _GREY, _LIGHT = 32, 170, 235  # grey levels
_READABLE = 160  # minimum width in pixels for a sentence


def placeholder(size_wh: tuple[int, int], reason: str) -> Yuv:
    """A dark frame that says NO VIDEO, and the reason if it is readable at this size. Any size from 1x1."""
    width, height = max(1, size_wh[0]), max(1, size_wh[1])
    y = np.full((height, width), _DARK, np.uint8)
    grey = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    title_height = max(1, height // 6)
    scale, thickness = _scale(NO_VIDEO, round(0.9 * width), title_height)
    _put(y, NO_VIDEO, height * 2 // 5, scale, thickness, _LIGHT)
    line_height = max(10, height // 24)  # smaller letters run together
    lines = _wrapped(_ascii(reason), round(0.9 * width), line_height) if width >= _READABLE else []
    for number, line in enumerate(lines):
        middle = height * 11 // 20 + round(1.7 * line_height * (number + 0.5))
        if middle + line_height <= height:
            _put(y, line, middle, *_scale("Hg", width, line_height), _GREY)
    return Yuv(y, grey, grey.copy())


def stamp(image: Image, text: str) -> Image:
    """A copy of the picture with the text on a dark bar along its lower edge; the picture type and size do not change."""
    if isinstance(image, Yuv):
        y = image.y.copy()
        dark, light = (0, 255) if image.full_range else (16, 235)
        bar = _stamped(y, _ascii(text), dark, light)
        u, v = image.u.copy(), image.v.copy()
        for plane in (u, v):
            plane[bar // 2 :] = 128
        return replace(image, y=y, u=u, v=v)
    pixels = image.copy()
    luma = np.zeros(image.shape[:2], np.uint8)
    bar = _stamped(luma, _ascii(text), 0, 255)
    pixels[bar:] = luma[bar:, :, None]
    return pixels


def _stamped(y: Plane, text: str, dark: int, light: int) -> int:
    """Draw the bar; return its first row, which is even, so that the bar covers whole chroma pixels."""
    height, width = y.shape
    letters = max(7, height // 20)
    scale, thickness = _scale(text, round(0.94 * width), letters)
    first = max(0, height - round(1.8 * letters)) // 2 * 2
    y[first:] = dark
    _put(y, text, (first + height) // 2, scale, thickness, light)
    return first


def _scale(text: str, width: int, height: int) -> tuple[float, int]:
    """(scale, thickness) at which the text fits into `width`, and its capital letters into `height`, both in pixels."""
    (wide, high), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = min(width / max(1, wide), height / max(1, high))
    return scale, max(1, round(1.6 * scale))


def _put(y: Plane, text: str, middle: int, scale: float, thickness: int, level: int) -> None:
    """Draw text centred on the row `middle`."""
    (wide, high), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    at = (max(0, (y.shape[1] - wide) // 2), middle + high // 2)
    cv2.putText(y, text, at, _FONT, scale, level, thickness, cv2.LINE_AA)


def _wrapped(text: str, width: int, height: int) -> list[str]:
    """The text wrapped into lines of at most `width`, with letters of `height`; a word that is too long is cut."""
    scale, thickness = _scale("Hg", width, height)

    def fits(line: str) -> bool:
        return cv2.getTextSize(line, _FONT, scale, thickness)[0][0] <= width

    lines: list[str] = []
    for word in text.split():
        kept = word
        while len(kept) > 1 and not fits(kept):
            kept = kept[:-1]
        if lines and fits(f"{lines[-1]} {kept}"):
            lines[-1] += f" {kept}"
        else:
            lines.append(kept)
    return lines


def _ascii(text: str) -> str:
    """The text with `?` for every other character: OpenCV's font has ASCII only and would draw one `?` per byte."""
    return text.encode("ascii", "replace").decode()
