"""Pictures into training batches: decoded, cropped and blurred as they are needed.

A batch depends on (seed, step) alone, so a resumed run sees the batches that the uninterrupted one would have seen.
"""

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import DataError
from device.images.degrade import CameraBlur, to_float, to_luma
from device.images.frame import Pixels
from device.images.picture import pictures_in, read_picture
from train import near_duplicates
from train.picture_cache import FilePicture, Photograph, PixelCache, default_cache_bytes

log = logging.getLogger(__name__)
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]  # blurred, sharp: (n, height, width, 3) in 0..1
AHEAD = 16  # batches prepared in advance
_WORKERS = os.cpu_count() or 1
_CROP_PX = 256
_WINDOW = 64
_SERVED = 4  # times that each place of a blurred crop serves, turned and shifted differently: blurring costs more than training

# The photographs that the scikit-image wheel carries, with what its documentation says of their origin.
SKIMAGE_PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A `Photograph` in memory. (height, width, 3) uint8."""

    name: str
    sharp: Pixels
    blurred: Pixels | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.sharp.shape[0], self.sharp.shape[1]

    @property
    def thumbnail(self) -> near_duplicates.Thumbnail:
        """What `train.near_duplicates` compares."""
        return near_duplicates.thumbnail(self.sharp)


Crop = NDArray[np.uint8] | NDArray[np.float32]
"""What patches are cut from: (height, width, 3) bytes, or (height, width) brightness in 0..1."""
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}  # by number of quarter turns


def load_photographs(folder: Path, smallest: int, cache: PixelCache | None = None) -> list[FilePicture]:
    """Every readable picture under `folder` and its sub-folders, at least `smallest` pixels wide and high.

    Each is decoded once here; afterwards `cache` decides what stays (default: half of the memory that is free). Others are
    named and skipped, with a count. Raises DataError when none is left.
    """
    cache = cache or PixelCache(default_cache_bytes())
    paths = photographs_in(folder)
    pictures, skipped = [], []

    def load(path: Path) -> FilePicture | str:
        try:
            pixels = cache.read(path)
        except DataError as error:
            return str(error)
        if min(pixels.shape[:2]) < smallest:
            return f"{path}: {pixels.shape[1]}x{pixels.shape[0]} is smaller than the patch of {smallest} pixels"
        name = path.relative_to(folder).as_posix()
        return FilePicture(name, path, pixels.shape[:2], cache, near_duplicates.thumbnail(pixels))

    for loaded in in_threads(load, paths):
        if isinstance(loaded, str):
            skipped.append(loaded)
        else:
            pictures.append(loaded)
    for reason in skipped:
        log.warning("skipped %s", reason)
    if skipped:
        log.warning("%d of %d pictures were skipped", len(skipped), len(paths))
    if len(pictures) < 2:
        seen = skipped[0] if skipped else "no picture in it or below it"
        raise DataError(f"{folder}: {len(pictures)} usable pictures, at least 2 are needed ({seen})")
    return pictures


def photographs_in(folder: Path) -> list[Path]:
    """The pictures of `folder` and its sub-folders but the hidden ones; may be none. Raises DataError without the folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of sharp photographs")
    below = sorted(p for p in folder.rglob("*") if p.is_dir())
    folders = [folder, *(p for p in below if not any(part.startswith(".") for part in p.relative_to(folder).parts))]
    paths: list[Path] = []
    for place in folders:
        try:
            paths += pictures_in(place)
        except DataError:
            continue
    return paths


def load_pairs(blurred_folder: Path, sharp_folder: Path, smallest: int, cache: PixelCache | None = None) -> list[FilePicture]:
    """Pairs of two folders, matched by sorted name; see `load_photographs` for `cache`.

    Raises DataError on unequal counts, sizes, or unreadable files.
    """
    cache = cache or PixelCache(default_cache_bytes())
    blurred_paths, sharp_paths = pictures_in(blurred_folder), pictures_in(sharp_folder)
    if len(blurred_paths) != len(sharp_paths):
        raise DataError(
            f"{blurred_folder} has {len(blurred_paths)} pictures and {sharp_folder} has {len(sharp_paths)}; "
            "pairs are matched by sorted name, so both need the same number"
        )

    def load(paths: tuple[Path, Path]) -> FilePicture:
        blurred_path, sharp_path = paths
        blurred, sharp = cache.read(blurred_path), cache.read(sharp_path)
        if blurred.shape != sharp.shape:
            sizes = f"{blurred.shape[1]}x{blurred.shape[0]} and {sharp.shape[1]}x{sharp.shape[0]}"
            raise DataError(f"{blurred_path} and {sharp_path} are a pair but measure {sizes}; both must be one size")
        if min(sharp.shape[:2]) < smallest:
            raise DataError(f"{sharp_path}: {sharp.shape[1]}x{sharp.shape[0]} is smaller than the patch of {smallest} pixels")
        return FilePicture(sharp_path.name, sharp_path, sharp.shape[:2], cache, near_duplicates.thumbnail(sharp), blurred_path)

    pictures = list(in_threads(load, list(zip(blurred_paths, sharp_paths, strict=True))))
    if len(pictures) < 2:
        raise DataError(f"{sharp_folder}: 1 pair, at least 2 are needed to train on one and validate on another")
    return pictures


def package_photographs() -> list[Picture]:
    """The photographs that the scikit-image package carries, so that training runs offline at once."""
    return read_named("package", (), SKIMAGE_PHOTOGRAPHS)


def read_named(kind: str, folders: tuple[str, ...], names: tuple[str, ...]) -> list[Picture]:
    """Read the named pictures of a run's data set again; `kind` and `folders` are those of its DataRecord. Raises DataError."""
    if kind == "pairs":
        blurred, sharp = ({p.name: p for p in pictures_in(folder)} for folder in folders)
        if len(blurred) != len(sharp) or not set(names) <= set(sharp):
            raise DataError(f"the pairs in {' and '.join(folders)} are no longer those of the run; put them back, or train anew")
        partners = dict(zip(sorted(sharp), sorted(blurred), strict=True))
        return [Picture(name, read_picture(sharp[name]), read_picture(blurred[partners[name]])) for name in names]
    if kind == "package":
        import skimage.data

        folders = (str(Path(skimage.data.__file__).parent),)
    return [Picture(name, read_picture(Path(folders[0]) / name)) for name in names]


class Batches(Protocol):
    """Training data: `batch(step)` is a pure function of the step."""

    steps_per_epoch: int

    def batch(self, step: int) -> Batch:
        """The batch of this step, counted from 0 over all epochs."""


class Patches:
    """Random patches of the pictures, flipped and turned; the blurring is shared by several patches.

    A patch alone would be mostly margin: 64 pixels need 102 to blur from. So a stream of crops of at most `_CROP_PX` is
    blurred, each serves `_SERVED` times the patches that fit into it, and every step draws from the `_WINDOW` current crops.
    With `luma` the batches hold brightness only, (n, patch, patch, 1), computed once a crop.
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
        # Large pictures hold more to learn from, but not in proportion: their square root.
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
        return _joined([b for b, _ in pairs]), _joined([s for _, s in pairs])

    def _crop(self, index: int, oldest: int) -> tuple[Crop, Crop]:
        """The crop of this place in the stream, made by the first thread that asks and kept while it is current."""
        with self._lock:
            for old in [i for i in self._crops if i < oldest - 2 * self._window]:
                del self._crops[old]
            making = index not in self._crops
            future = self._crops.setdefault(index, Future())
        if making:
            try:
                future.set_result(self._make_crop(index))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _make_crop(self, index: int) -> tuple[Crop, Crop]:
        blurred, sharp = self._blurred_crop(index)
        return (_brightness(blurred), _brightness(sharp)) if self._luma else (blurred, sharp)

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

        def turn(crop: Crop) -> Crop:  # OpenCV turns several times as fast as NumPy, and lets other threads run meanwhile
            turned = cv2.rotate(crop[inside], _TURNS[turns]) if turns else crop[inside]
            return cv2.flip(turned, 1) if mirror else turned  # type: ignore[return-value]

        return turn(blurred), turn(sharp)


def _brightness(pixels: Pixels) -> Crop:
    return to_luma(to_float(pixels))[..., 0]


def _joined(patches: list[Crop]) -> NDArray[np.float32]:
    """(n, patch, patch, 3 or 1) in 0..1."""
    height, width = patches[0].shape[:2]
    joined = np.empty((len(patches), height, width, *(patches[0].shape[2:] or (1,))), np.float32)
    for place, patch in zip(joined, patches, strict=True):
        if patch.dtype == np.uint8:
            np.multiply(patch, np.float32(1 / 255), out=place, dtype=np.float32)
        else:
            place[..., 0] = patch
    return joined


class Growing:
    """Data sets of growing patches, one after the other: each serves an equal share of the epochs."""

    def __init__(self, stages: list[Batches], epochs: int) -> None:
        self._stages, self._epochs = stages, epochs
        self.steps_per_epoch = stages[0].steps_per_epoch

    def batch(self, step: int) -> Batch:
        epoch = step // self.steps_per_epoch
        return self._stages[epoch * len(self._stages) // self._epochs].batch(step)


class WholePictures:
    """Every picture resized to the network's only size and blurred once, as the tutorial does; shuffled each epoch."""

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
    """One pair a picture, the same in every epoch and run: the middle of it, or (`whole`) all of it resized to `side`.

    The middle is at most `side` pixels wide and high, the same for all pictures and a multiple of `multiple`.
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
    """A crop with `margin` more pixels on every side; what lies outside the picture is mirrored."""
    y0, y1, x0, x1 = top - margin, top + height + margin, left - margin, left + width + margin
    part = pixels[max(0, y0) : y1, max(0, x0) : x1]
    below, beside = y1 - pixels.shape[0], x1 - pixels.shape[1]
    border = (max(0, -y0), max(0, below), max(0, -x0), max(0, beside))
    return cv2.copyMakeBorder(part, *border, cv2.BORDER_REFLECT) if any(border) else part  # type: ignore[return-value]


Given = TypeVar("Given")
Made = TypeVar("Made")


def in_threads(work: Callable[[Given], Made], items: Sequence[Given]) -> Iterator[Made]:
    """`work(item)` of every item, in order, by as many threads as there are cores; the first error ends it."""
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="pictures")
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(batches: Batches, first: int, last: int) -> Generator[Batch, None, None]:
    """The batches of steps first..last-1, in order, prepared by threads while the accelerator works."""
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="batches") as pool:
        waiting: list[Future[Batch]] = [pool.submit(batches.batch, s) for s in range(first, min(first + AHEAD, last))]
        for step in range(first, last):
            batch = waiting.pop(0).result()
            if step + AHEAD < last:
                waiting.append(pool.submit(batches.batch, step + AHEAD))
            yield batch
