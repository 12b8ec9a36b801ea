import errno
import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from device.errors import DataError, RunError
from device.images.frame import Pixels
from device.images.picture import PICTURE_SUFFIXES, encode_picture, is_picture, is_video, pictures_in, read_picture, write_picture
from device.system.files import write_atomically


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int))


def on_white(image: Image.Image) -> np.ndarray:
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    return np.asarray(page.convert("RGB"))


def jpeg_with_thumbnail(picture: Pixels) -> bytes:
    """A JPEG whose EXIF segment contains a second, complete JPEG."""
    whole, thumbnail = encode_picture(picture, ".jpg"), encode_picture(picture[::4, ::4], ".jpg")
    # TIFF header, IFD0 without entries, then IFD1: compression 6 (JPEG), offset and length of the thumbnail.
    entries = struct.pack("<HHIHH", 0x0103, 3, 1, 6, 0)
    entries += struct.pack("<HHII", 0x0201, 4, 1, 14 + 2 + 3 * 12 + 4) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    tiff = b"II*\x00" + struct.pack("<IHI", 8, 0, 14) + struct.pack("<H", 3) + entries + struct.pack("<I", 0)
    body = b"Exif\x00\x00" + tiff + thumbnail
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + whole[2:]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp"])
def test_a_lossless_picture_reads_back_identical(tmp_path: Path, picture: Pixels, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", picture)
    assert np.array_equal(read_picture(tmp_path / f"a{suffix}"), picture)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_a_jpeg_keeps_size_and_channel_order(tmp_path: Path, suffix: str) -> None:
    colours = np.zeros((40, 60, 3), np.uint8)
    colours[:, :20, 0] = colours[:, 20:40, 1] = colours[:, 40:, 2] = 200
    write_picture(tmp_path / f"a{suffix}", colours)
    back = read_picture(tmp_path / f"a{suffix}")
    assert difference(back, colours)[:, [5, 30, 55]].max() <= 8
    assert np.array_equal(np.asarray(Image.open(tmp_path / f"a{suffix}")).argmax(-1), back.argmax(-1))


def test_grey_becomes_three_equal_channels(tmp_path: Path, picture: Pixels) -> None:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert np.array_equal(read_picture(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_become_eight(tmp_path: Path, picture: Pixels, channels: int) -> None:
    opaque = np.dstack([picture[..., ::-1], np.full(picture.shape[:2], 255, np.uint8)])  # B G R A
    stored = opaque[..., :channels] if channels > 1 else opaque[..., 1]
    cv2.imwrite(str(tmp_path / "deep.png"), stored.astype(np.uint16) * 257)
    expected = picture if channels > 1 else np.repeat(picture[..., 1:2], 3, 2)
    read = read_picture(tmp_path / "deep.png")
    assert read.dtype == np.uint8
    assert np.array_equal(read, expected)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_composited_onto_white(tmp_path: Path, picture: Pixels, suffix: str) -> None:
    alpha = np.tile(np.linspace(0, 255, picture.shape[1]).astype(np.uint8), (picture.shape[0], 1))
    image = Image.fromarray(np.dstack([picture, alpha]))
    image.save(tmp_path / f"a{suffix}", **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    read = read_picture(tmp_path / f"a{suffix}")
    assert difference(read, on_white(image)).max() <= 1
    assert (read[:, 0] == 255).all()


@pytest.mark.parametrize("profile_bytes", [0, 6000])
def test_a_palette_with_transparency_is_composited_onto_white(tmp_path: Path, picture: Pixels, profile_bytes: int) -> None:
    image = Image.fromarray(picture).quantize(16)
    alphas = bytes([0, 128, *[255] * 14])
    # A colour profile comes before the transparency: random bytes, which do not compress.
    profile = np.random.default_rng(0).bytes(profile_bytes)
    image.save(tmp_path / "a.png", transparency=alphas, icc_profile=profile or None)
    read = read_picture(tmp_path / "a.png")
    assert difference(read, on_white(Image.open(tmp_path / "a.png"))).max() <= 1
    assert difference(read, np.asarray(image.convert("RGB"))).max() > 10


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, picture: Pixels) -> None:
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    with Image.open(tmp_path / "print.jpg") as image:
        assert image.mode == "CMYK"
        expected = np.asarray(image.convert("RGB"))
    assert difference(read_picture(tmp_path / "print.jpg"), expected).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_applied(tmp_path: Path, picture: Pixels, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / f"a{suffix}", quality=95, subsampling=0, exif=exif)
    with Image.open(tmp_path / f"a{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    read = read_picture(tmp_path / f"a{suffix}")
    assert read.shape == (picture.shape if orientation < 5 else (picture.shape[1], picture.shape[0], 3))
    assert difference(read, expected).mean() < 1.5


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_a_truncated_picture_is_refused_and_named(tmp_path: Path, picture: Pixels, suffix: str, kept: float) -> None:
    data = encode_picture(picture, suffix)
    (tmp_path / f"half{suffix}").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=rf"half\{suffix}"):
        read_picture(tmp_path / f"half{suffix}")


def test_a_truncated_progressive_jpeg_is_refused(tmp_path: Path, picture: Pixels) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert read_picture(tmp_path / "a.jpg").shape == picture.shape
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(DataError, match="ends before the picture does"):
        read_picture(tmp_path / "a.jpg")


def test_the_end_of_a_thumbnail_is_not_mistaken_for_the_end_of_a_jpeg(tmp_path: Path, picture: Pixels) -> None:
    data = jpeg_with_thumbnail(picture)
    assert data.count(b"\xff\xd9") >= 2
    (tmp_path / "phone.jpg").write_bytes(data)
    assert np.array_equal(read_picture(tmp_path / "phone.jpg"), cv2.cvtColor(cv2.imread(str(tmp_path / "phone.jpg")), 4))
    for kept in (len(data) // 2, len(data) - 200):
        (tmp_path / "phone.jpg").write_bytes(data[:kept])
        with pytest.raises(DataError, match=r"phone\.jpg: the file ends"):
            read_picture(tmp_path / "phone.jpg")


def test_text_named_png_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture at all\n" * 50)
    with pytest.raises(DataError, match=r"notes\.png: not a picture that can be decoded"):
        read_picture(tmp_path / "notes.png")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "nothing.jpg").touch()
    with pytest.raises(DataError, match=r"nothing\.jpg: the file is empty"):
        read_picture(tmp_path / "nothing.jpg")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("missing.png", "folder.png"):
        with pytest.raises(DataError, match=name):
            read_picture(tmp_path / name)


def test_a_name_counts_as_a_file_only_with_a_known_suffix() -> None:
    assert is_picture("a/B.JPG")
    assert is_video("clip.MKV")
    assert not is_picture("R/gauss-1.6")
    assert not is_video("R/gauss-1.6")


def test_a_folder_lists_its_pictures_by_name_without_hidden_and_other_files(tmp_path: Path, picture: Pixels) -> None:
    for name in ("b.png", "a.JPG", ".hidden.png"):
        write_picture(tmp_path / name, picture)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "c.png").mkdir()
    assert [p.name for p in pictures_in(tmp_path)] == ["a.JPG", "b.png"]


def test_a_folder_without_pictures_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no picture among its 1 entries"):
        pictures_in(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        pictures_in(tmp_path / "none")


def test_writing_creates_missing_folders_and_leaves_no_temporary_file(tmp_path: Path, picture: Pixels) -> None:
    write_picture(tmp_path / "new" / "folder" / "a.png", picture)
    assert os.listdir(tmp_path / "new" / "folder") == ["a.png"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "a.png", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"a\.png: cannot be written: No space left"):
        write_atomically(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["file/a.png", "n" * 250 + ".png"])
def test_a_path_that_cannot_be_written_is_a_run_error(tmp_path: Path, picture: Pixels, name: str) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(RunError, match="cannot be written"):
        write_picture(tmp_path / name, picture)


def test_a_picture_too_wide_for_its_format_is_a_run_error() -> None:
    with pytest.raises(RunError, match="70000x1"):
        encode_picture(np.zeros((1, 70000, 3), np.uint8), ".jpg")
