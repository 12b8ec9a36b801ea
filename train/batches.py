"""Training batches from photographs: cropped and blurred on demand, in threads that work ahead of the training.

A batch depends on (seed, step) alone, so a resumed run gets the same batches as an uninterrupted one.
"""

import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.degrade import CameraBlur, to_float, to_luma
from device.images.frame import Pixels
from train.photographs import Photograph

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]  # blurred, sharp: (n, height, width, 3) in 0..1
AHEAD = 16  # batches that are prepared in advance
_WORKERS = os.cpu_count() or 1
_CROP_PX = 256  # largest side of a blurred crop
_WINDOW = 64  # crops that a step draws its patches from
_SERVED = 4  # times that each part of a blurred crop is used, turned and shifted differently: blurring costs more than training
Crop = NDArray[np.uint8] | NDArray[np.float32]
"""Patches are cut from it: (height, width, 3) uint8, or (height, width) luma in 0..1."""
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}  # by number of quarter turns


class Batches(Protocol):
    """Training data: `batch(step)` is a pure function of the step."""

    steps_per_epoch: int

    def batch(self, step: int) -> Batch:
        """The batch of this step, counted from 0 over all epochs."""


class Patches:
    """Random patches of the pictures, flipped and turned. Several patches share one blurred crop.

    To blur single patches would waste most of the work on margins: a patch of 64 pixels needs 102. So a stream of crops of
    at most `_CROP_PX` is blurred; each provides `_SERVED` times as many patches as fit into it, and every step draws from the
    `_WINDOW` current crops. With `luma` the batches are (n, patch, patch, 1), and luma is computed once per crop.
    """

    def __init__(
        self,
        pictures: Sequence[Photograph],
        blur: CameraBlur,
        *,
        patch: int,
        batch: int,
        steps_per_epoch: int,
        seed: int,
        luma: bool = False,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch or max(1, len(pictures) // batch)
        self._pictures, self._blur, self._patch, self._batch, self._seed = pictures, blur, patch, batch, seed
        self._luma = luma
        areas = np.array([p.size_hw[0] * p.size_hw[1] for p in pictures], np.float64)
        # Large pictures have more to learn from, but not in proportion to their area: draw by its square root.
        self._odds = np.sqrt(areas) / np.sqrt(areas).sum()
        self._patches_per_crop = _SERVED * max(1, (_CROP_PX // patch) ** 2)
        self._window = max(_WINDOW, batch)
        self._crops: dict[int, Future[tuple[Crop, Crop]]] = {}
        self._lock = threading.Lock()

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        oldest = step * self._batch // self._patches_per_crop
        chosen = oldest + rng.choice(self._window, self._batch, replace=False)
        pairs = [self._draw(*self._crop(int(i), oldest), rng) for i in chosen]
        return _stack([b for b, _ in pairs]), _stack([s for _, s in pairs])

    def _crop(self, index: int, oldest: int) -> tuple[Crop, Crop]:
        """The crop at this index of the stream: computed by the first thread that asks, kept as long as it is current."""
        with self._lock:
            for old in [i for i in self._crops if i < oldest - 2 * self._window]:
                del self._crops[old]
            is_new = index not in self._crops
            future = self._crops.setdefault(index, Future())
        if is_new:
            try:
                future.set_result(self._compute_crop(index))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _compute_crop(self, index: int) -> tuple[Crop, Crop]:
        blurred, sharp = self._blurred_crop(index)
        return (_luma_plane(blurred), _luma_plane(sharp)) if self._luma else (blurred, sharp)

    def _blurred_crop(self, index: int) -> tuple[Pixels, Pixels]:
        rng = np.random.default_rng([self._seed, index, 1])
        picture = self._pictures[int(rng.choice(len(self._pictures), p=self._odds))]
        height, width = (max(self._patch, min(_CROP_PX, side)) for side in picture.size_hw)
        top = int(rng.integers(0, picture.size_hw[0] - height + 1))
        left = int(rng.integers(0, picture.size_hw[1] - width + 1))
        blurred, sharp = picture.blurred, picture.sharp
        if blurred is not None:
            inside = np.s_[top : top + height, left : left + width]
            return blurred[inside].copy(), sharp[inside].copy()  # a view would keep the whole picture in memory
        margin = self._blur.margin_px
        crop = crop_with_margin(sharp, top, left, height, width, margin)
        inside = np.s_[margin : margin + height, margin : margin + width]
        return self._blur.degrade(crop, rng, trim=margin), crop[inside].copy()

    def _draw(self, blurred: Crop, sharp: Crop, rng: np.random.Generator) -> tuple[Crop, Crop]:
        top = int(rng.integers(0, sharp.shape[0] - self._patch + 1))
        left = int(rng.integers(0, sharp.shape[1] - self._patch + 1))
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        inside = np.s_[top : top + self._patch, left : left + self._patch]

        def turn(crop: Crop) -> Crop:  # OpenCV turns several times as fast as NumPy and releases the interpreter lock
            turned = cv2.rotate(crop[inside], _TURNS[turns]) if turns else crop[inside]
            return cv2.flip(turned, 1) if mirror else turned  # type: ignore[return-value]

        return turn(blurred), turn(sharp)


def _luma_plane(pixels: Pixels) -> Crop:
    return to_luma(to_float(pixels))[..., 0]


def _stack(patches: list[Crop]) -> NDArray[np.float32]:
    """(n, patch, patch, 3 or 1) in 0..1."""
    height, width = patches[0].shape[:2]
    stacked = np.empty((len(patches), height, width, *(patches[0].shape[2:] or (1,))), np.float32)
    for place, patch in zip(stacked, patches, strict=True):
        if patch.dtype == np.uint8:
            np.multiply(patch, np.float32(1 / 255), out=place, dtype=np.float32)
        else:
            place[..., 0] = patch
    return stacked


class GrowingPatches:
    """Stages of growing patches, one after the other, each for an equal share of the epochs."""

    def __init__(self, stages: list[Batches], epochs: int) -> None:
        self._stages, self._epochs = stages, epochs
        self.steps_per_epoch = stages[0].steps_per_epoch

    def batch(self, step: int) -> Batch:
        epoch = step // self.steps_per_epoch
        return self._stages[epoch * len(self._stages) // self._epochs].batch(step)


class WholePictures:
    """Whole pictures, resized to the fixed size of the network and blurred once, as in the tutorial; shuffled each epoch."""

    def __init__(self, pairs: Batch, *, batch: int, seed: int) -> None:
        self._blurred, self._sharp = pairs
        self._batch, self._seed = batch, seed
        self.steps_per_epoch = -(-len(self._sharp) // batch)

    def batch(self, step: int) -> Batch:
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._sharp))
        chosen = order[at * self._batch : (at + 1) * self._batch]
        return self._blurred[chosen], self._sharp[chosen]


def fixed_pairs(pictures: Sequence[Photograph], blur: CameraBlur, *, side: int, whole: bool, multiple: int, seed: int) -> Batch:
    """One pair per picture, the same in every epoch and run: its centre, or (`whole`) all of it, resized to `side`.

    The centre is at most `side` pixels wide and high, of one size for all pictures, and a multiple of `multiple`.
    """
    if not whole:
        side = min(side, *(min(p.size_hw) for p in pictures)) // multiple * multiple
    blurred, sharp = [], []
    for i, picture in enumerate(pictures):
        rng = np.random.default_rng([seed, i])
        clear, real = picture.sharp, picture.blurred
        if whole:
            full, margin = cv2.resize(clear, (side, side), interpolation=cv2.INTER_AREA), 0
        else:
            top, left = (clear.shape[0] - side) // 2, (clear.shape[1] - side) // 2
            margin = blur.margin_px
            full = crop_with_margin(clear, top, left, side, side, margin)
        inside = np.s_[margin : margin + side, margin : margin + side]
        if real is None:
            soft = blur.degrade(full, rng, trim=margin)  # type: ignore[arg-type]
        elif whole:
            soft = cv2.resize(real, (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        else:
            soft = real[top : top + side, left : left + side]
        blurred.append(to_float(soft))
        sharp.append(to_float(full[inside]))  # type: ignore[index, arg-type]
    return np.stack(blurred), np.stack(sharp)


def crop_with_margin(pixels: Pixels, top: int, left: int, height: int, width: int, margin: int) -> Pixels:
    """A crop with `margin` more pixels on every side; beyond the picture's edge it is mirrored."""
    y0, y1, x0, x1 = top - margin, top + height + margin, left - margin, left + width + margin
    part = pixels[max(0, y0) : y1, max(0, x0) : x1]
    below, beside = y1 - pixels.shape[0], x1 - pixels.shape[1]
    border = (max(0, -y0), max(0, below), max(0, -x0), max(0, beside))
    return cv2.copyMakeBorder(part, *border, cv2.BORDER_REFLECT) if any(border) else part  # type: ignore[return-value]


def prefetched(batches: Batches, first: int, last: int) -> Generator[Batch, None, None]:
    """The batches of steps first..last-1, in order, prepared in threads while the accelerator works."""
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="batches") as pool:
        waiting: list[Future[Batch]] = [pool.submit(batches.batch, s) for s in range(first, min(first + AHEAD, last))]
        for step in range(first, last):
            batch = waiting.pop(0).result()
            if step + AHEAD < last:
                waiting.append(pool.submit(batches.batch, step + AHEAD))
            yield batch
