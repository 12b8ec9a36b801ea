"""Builds frozen dataclasses from mappings (JSON, TOML). Errors name the nearest known key."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from device.errors import DeblurkitError, UsageError

Record = TypeVar("Record")


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause for an error message: the nearest of `known`, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(names)}"


def build(record: type[Record], mapping: Any, where: str, error: type[DeblurkitError] = UsageError) -> Record:
    """Build the frozen dataclass `record` from `mapping`; `where` names the place in messages ("manifest.json: input").

    Fields may be str, int, float, bool, X | None, tuple[X, ...], dict[str, X] and dataclasses, also nested. Raises `error` for an
    unknown or missing key and for a value of the wrong type.
    """
    if not isinstance(mapping, Mapping):
        raise error(f"{where}: expected a table of keys, found {type(mapping).__name__}")
    fields = {f.name: f for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise error(f"{where}: unknown key {key!r}; {nearest(str(key), fields)}")
    hints = typing.get_type_hints(record)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], f"{where}: {name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: the key {name!r} is missing")
    return record(**values)


def _convert(hint: Any, value: Any, where: str, error: type[DeblurkitError]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (a for a in arguments if a is not type(None))
        return _convert(hint, value, where, error)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where, error)
    if origin is tuple and isinstance(value, str):
        value = (value,)  # a single item needs no brackets
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, f"{where}[{i}]", error) for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(k): _convert(arguments[1], item, f"{where}: {k}", error) for k, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = "a list" if origin is tuple else getattr(origin or hint, "__name__", str(hint))
    raise error(f"{where}: expected {expected}, found {value!r}")
