from dataclasses import dataclass, field
from typing import Any

import pytest

from device.config import build, nearest
from device.errors import BundleError, UsageError


@dataclass(frozen=True)
class Lens:
    focal_mm: float
    name: str = "plain"


@dataclass(frozen=True)
class Camera:
    width: int
    lens: Lens
    gain: float | None = None
    lights: tuple[str, ...] = ()
    lenses: dict[str, Lens] = field(default_factory=dict)
    anything: Any = None
    night: bool = False


GOOD: dict[str, Any] = {"width": 640, "lens": {"focal_mm": 4}}


def test_nested_tables_lists_and_options_become_frozen_dataclasses() -> None:
    mapping = GOOD | {
        "gain": None,
        "lights": ["red", "blue"],
        "lenses": {"far": {"focal_mm": 9.5}},
        "anything": [1],
        "night": True,
    }
    camera = build(Camera, mapping, "camera.toml")
    assert camera == Camera(640, Lens(4.0), None, ("red", "blue"), {"far": Lens(9.5)}, [1], True)
    assert isinstance(camera.lens.focal_mm, float)
    with pytest.raises(AttributeError):
        camera.width = 1  # type: ignore[misc]


def test_a_single_string_becomes_a_list_of_one() -> None:
    assert build(Camera, GOOD | {"lights": "red"}, "x").lights == ("red",)


def test_a_missing_key_takes_its_default() -> None:
    assert build(Camera, GOOD, "x") == Camera(640, Lens(4.0))


def test_an_unknown_key_names_the_place_and_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match=r"camera\.toml: unknown key 'widht'; did you mean 'width'\? Known: anything, gain"):
        build(Camera, GOOD | {"widht": 1}, "camera.toml")
    with pytest.raises(UsageError, match=r"camera\.toml: lens: unknown key 'focal'; did you mean 'focal_mm'"):
        build(Camera, {"width": 1, "lens": {"focal_mm": 1, "focal": 2}}, "camera.toml")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="x: lens: the key 'focal_mm' is missing"):
        build(Camera, {"width": 1, "lens": {}}, "x")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("width", "640", "width: expected int, found '640'"),
        ("width", 640.0, "width: expected int, found 640.0"),
        ("width", True, "width: expected int, found True"),
        ("width", None, "width: expected int, found None"),
        ("gain", True, "gain: expected float, found True"),
        ("night", 1, "night: expected bool, found 1"),
        ("lights", 3, "lights: expected a list, found 3"),
        ("lights", ["red", 3], r"lights\[1\]: expected str, found 3"),
        ("lens", 3, "lens: expected a table of keys, found int"),
        ("lenses", {"far": {"focal_mm": "x"}}, "lenses: far: focal_mm: expected float, found 'x'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_its_place_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(Camera, GOOD | {key: value}, "x")


def test_anything_but_a_table_is_refused_with_the_error_class_of_the_caller() -> None:
    with pytest.raises(BundleError, match="manifest: expected a table of keys, found list"):
        build(Camera, [1, 2], "manifest", BundleError)


def test_nearest_lists_all_and_suggests_only_similar_ones() -> None:
    assert nearest("samll", ["small", "nano"]) == "did you mean 'small'? Known: nano, small"
    assert nearest("zzz", ["small", "nano"]) == "Known: nano, small"
