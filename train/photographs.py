"""The photographs of a data set: in memory or in files, with a real blurred partner where the data set has pairs."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from device.errors import DataError
from device.images.frame import Pixels
from device.images.picture import pictures_in, read_picture
from train import near_duplicates
from train.near_duplicates import Thumbnail
from train.picture_cache import PixelCache, default_cache_bytes

log = logging.getLogger(__name__)

# The photographs in the scikit-image wheel; its documentation states the origin of each.
SKIMAGE_PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


class Photograph(Protocol):
    """A sharp picture, and its real blurred partner where the data set has pairs.

    Pixels are (height, width, 3) uint8 RGB. Do not write to them: other threads may be reading them.
    """

    @property
    def name(self) -> str:
        """Unique within its data set."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, known without decoding the picture."""

    @property
    def sharp(self) -> Pixels:
        """The sharp picture. Each access may decode a file, so keep the result."""

    @property
    def blurred(self) -> Pixels | None:
        """The blurred partner, of the same size; None in a data set without pairs."""

    @property
    def thumbnail(self) -> Thumbnail:
        """What `train.near_duplicates` compares."""


@dataclass(frozen=True)
class MemoryPhotograph:
    """A `Photograph` in memory."""

    name: str
    sharp: Pixels
    blurred: Pixels | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.sharp.shape[0], self.sharp.shape[1]

    @property
    def thumbnail(self) -> Thumbnail:
        """What `train.near_duplicates` compares."""
        return near_duplicates.thumbnail(self.sharp)


@dataclass(frozen=True)
class FilePhotograph:
    """A `Photograph` in a file, or a pair of files."""

    name: str
    path: Path
    size_hw: tuple[int, int]
    cache: PixelCache
    thumbnail: Thumbnail
    blurred_path: Path | None = None

    @property
    def sharp(self) -> Pixels:
        """From the cache, or decoded now. Raises DataError if the file has changed its size or cannot be read any more."""
        return self._read(self.path)

    @property
    def blurred(self) -> Pixels | None:
        """The partner of a pair; see `sharp`."""
        return None if self.blurred_path is None else self._read(self.blurred_path)

    def _read(self, path: Path) -> Pixels:
        pixels = self.cache.read(path)
        if pixels.shape[:2] != self.size_hw:
            (height, width), (old_height, old_width) = pixels.shape[:2], self.size_hw
            raise DataError(
                f"{path}: {width}x{height} now, {old_width}x{old_height} when the training started; do not change the pictures "
                "while a training runs"
            )
        return pixels


def load_photographs(folder: Path, smallest: int, cache: PixelCache | None = None) -> list[FilePhotograph]:
    """Load every readable picture in `folder` and its sub-folders that is at least `smallest` pixels wide and high.

    Each picture is decoded once here; afterwards `cache` decides which ones stay in memory (default: half of the free
    memory). Pictures that cannot be used are skipped; the log names and counts them. Raises DataError if fewer than two remain.
    """
    cache = cache or PixelCache(default_cache_bytes())
    paths = photographs_in(folder)
    pictures, skipped = [], []

    def load(path: Path) -> FilePhotograph | str:
        try:
            pixels = cache.read(path)
        except DataError as error:
            return str(error)
        if min(pixels.shape[:2]) < smallest:
            return f"{path}: {pixels.shape[1]}x{pixels.shape[0]} is smaller than the patch of {smallest} pixels"
        name = path.relative_to(folder).as_posix()
        return FilePhotograph(name, path, pixels.shape[:2], cache, near_duplicates.thumbnail(pixels))

    for loaded in map_in_threads(load, paths):
        if isinstance(loaded, str):
            skipped.append(loaded)
        else:
            pictures.append(loaded)
    for reason in skipped:
        log.warning("skipped %s", reason)
    if skipped:
        log.warning("%d of %d pictures were skipped", len(skipped), len(paths))
    if len(pictures) < 2:
        reason = skipped[0] if skipped else "no picture in it or its sub-folders"
        raise DataError(f"{folder}: {len(pictures)} usable pictures, at least 2 are needed ({reason})")
    return pictures


def photographs_in(folder: Path) -> list[Path]:
    """The picture files in `folder` and its sub-folders, hidden folders excluded. Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of sharp photographs")
    below = sorted(p for p in folder.rglob("*") if p.is_dir())
    folders = [folder, *(p for p in below if not any(part.startswith(".") for part in p.relative_to(folder).parts))]
    paths: list[Path] = []
    for sub_folder in folders:
        try:
            paths += pictures_in(sub_folder)
        except DataError:
            continue
    return paths


def load_pairs(blurred_folder: Path, sharp_folder: Path, smallest: int, cache: PixelCache | None = None) -> list[FilePhotograph]:
    """Load the pairs of two folders, matched by sorted name; `cache` works as in `load_photographs`.

    Raises DataError if the counts or the sizes differ, or a file cannot be read.
    """
    cache = cache or PixelCache(default_cache_bytes())
    blurred_paths, sharp_paths = pictures_in(blurred_folder), pictures_in(sharp_folder)
    if len(blurred_paths) != len(sharp_paths):
        raise DataError(
            f"{blurred_folder} has {len(blurred_paths)} pictures and {sharp_folder} has {len(sharp_paths)}; "
            "pairs are matched by sorted name, so both need the same number"
        )

    def load(paths: tuple[Path, Path]) -> FilePhotograph:
        blurred_path, sharp_path = paths
        blurred, sharp = cache.read(blurred_path), cache.read(sharp_path)
        if blurred.shape != sharp.shape:
            sizes = f"{blurred.shape[1]}x{blurred.shape[0]} and {sharp.shape[1]}x{sharp.shape[0]}"
            raise DataError(f"{blurred_path} and {sharp_path} are a pair but measure {sizes}; both must have the same size")
        if min(sharp.shape[:2]) < smallest:
            raise DataError(f"{sharp_path}: {sharp.shape[1]}x{sharp.shape[0]} is smaller than the patch of {smallest} pixels")
        return FilePhotograph(sharp_path.name, sharp_path, sharp.shape[:2], cache, near_duplicates.thumbnail(sharp), blurred_path)

    pictures = list(map_in_threads(load, list(zip(blurred_paths, sharp_paths, strict=True))))
    if len(pictures) < 2:
        raise DataError(f"{sharp_folder}: 1 pair, at least 2 are needed to train on one and validate on another")
    return pictures


def package_photographs() -> list[MemoryPhotograph]:
    """The photographs in the scikit-image package, so that training works offline and without a data set."""
    return read_named("package", (), SKIMAGE_PHOTOGRAPHS)


def read_named(kind: str, folders: tuple[str, ...], names: tuple[str, ...]) -> list[MemoryPhotograph]:
    """Read some pictures of a run's data set again, by name; `kind` and `folders` are those of its DataRecord.

    Raises DataError if they are no longer there.
    """
    if kind == "pairs":
        blurred, sharp = ({p.name: p for p in pictures_in(folder)} for folder in folders)
        if len(blurred) != len(sharp) or not set(names) <= set(sharp):
            raise DataError(
                f"the pairs in {' and '.join(folders)} are not those of the run any more; restore them, or train again"
            )
        partners = dict(zip(sorted(sharp), sorted(blurred), strict=True))
        return [MemoryPhotograph(name, read_picture(sharp[name]), read_picture(blurred[partners[name]])) for name in names]
    if kind == "package":
        import skimage.data

        folders = (str(Path(skimage.data.__file__).parent),)
    return [MemoryPhotograph(name, read_picture(Path(folders[0]) / name)) for name in names]


Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `work(item)` for every item, in order, computed by one thread per core; the first error ends it."""
    pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pictures")
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
