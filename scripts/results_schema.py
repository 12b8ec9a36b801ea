"""Generate the schema of bench.json from benchmarks/records.py: the tables of docs/results.md, and a JSON Schema.

.venv/bin/python scripts/results_schema.py            # print the tables
.venv/bin/python scripts/results_schema.py --json     # print the JSON Schema
.venv/bin/python scripts/results_schema.py --write    # write them to docs/results.md and benchmarks/bench.schema.json
"""

import ast
import dataclasses
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import records  # noqa: E402

DOCUMENT, SCHEMA = ROOT / "docs/results.md", ROOT / "benchmarks/bench.schema.json"
BEGIN, END = "<!-- printed by scripts/results_schema.py -->", "<!-- end of what is printed -->"
UNITS = {
    "_ms": "ms", "_mib": "MiB", "_db": "dB", "_mhz": "MHz", "_c": "°C", "_s": "s", "seconds": "s", "fps": "frames/s",
    "_levels": "grey levels", "_wh": "pixels", "bytes": "bytes", "_share": "0 to 1", "kept": "0 to 1", "ssim": "-1 to 1",
}  # fmt: skip
PLAIN = {
    str: ("text", "string"),
    int: ("whole number", "integer"),
    float: ("number", "number"),
    bool: ("true or false", "boolean"),
}


def classes() -> list[type]:
    """List the dataclasses: Result first, every other one after the first that contains it."""
    ordered: list[type] = []

    def visit(hint: Any) -> None:
        if dataclasses.is_dataclass(hint) and hint not in ordered:
            ordered.append(hint)
            hints = typing.get_type_hints(hint)
            for field in dataclasses.fields(hint):
                visit(hints[field.name])
        for inner in typing.get_args(hint):
            visit(inner)

    visit(records.Result)
    return ordered


def descriptions() -> dict[tuple[str, str], str]:
    """Docstrings of the fields by (class, field), and of the classes by (class, "")."""
    texts = {}
    for node in ast.parse(Path(records.__file__).read_text()).body:
        if isinstance(node, ast.ClassDef):
            texts[node.name, ""] = ast.get_docstring(node) or ""
            for line, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    texts[node.name, ast.unparse(line.target)] = " ".join(str(after.value.value).split())
    return texts


def markdown() -> str:
    """Write a heading and a table for each dataclass."""
    texts, parts = descriptions(), []
    for one in classes():
        hints = typing.get_type_hints(one)
        lines = [
            f"### {one.__name__}",
            "",
            texts[one.__name__, ""],
            "",
            "| key | type | unit | default | what |",
            "|---|---|---|---|---|",
        ]
        for field in dataclasses.fields(one):
            cells = (
                f"`{field.name}`",
                kind(hints[field.name]),
                unit(field.name),
                default(field),
                texts.get((one.__name__, field.name), ""),
            )
            lines.append(" ".join(f"| {cell.replace('|', ' ')}" if cell else "|" for cell in (*cells, "")))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def kind(hint: Any) -> str:
    """Describe a type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if a is type(None) else kind(a) for a in inner)
    if origin is tuple:
        return f"list of {kind(inner[0])}" if inner[-1] is Ellipsis else f"list of {len(inner)}: {kind(inner[0])}"
    if origin is dict:
        return f"{kind(inner[1])} by name"
    return PLAIN[hint][0] if hint in PLAIN else f"[{hint.__name__}](#{hint.__name__.lower()})"


def unit(name: str) -> str:
    """The unit, from the end of the name."""
    return next((text for end, text in UNITS.items() if name.endswith(end)), "")


def default(field: "dataclasses.Field[Any]") -> str:
    """The value of a missing key; empty for a required key."""
    if required(field):
        return ""
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return f"`{json.dumps(value)}`"


def required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. Unknown keys are rejected, as in `records.from_json`."""
    texts, definitions = descriptions(), {}
    for one in classes():
        hints = typing.get_type_hints(one)
        properties = {f.name: constraint(hints[f.name]) for f in dataclasses.fields(one)}
        for name, of in properties.items():
            if text := texts.get((one.__name__, name)):
                of["description"] = text
        if one is records.Row:
            properties["status"]["enum"] = list(records.STATUSES)
        if one is records.Result:
            properties["schema"]["const"] = records.SCHEMA
        definitions[one.__name__] = {
            "type": "object",
            "description": texts[one.__name__, ""],
            "properties": properties,
            "required": [f.name for f in dataclasses.fields(one) if required(f)],
            "additionalProperties": False,
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Result", "$defs": definitions}


def constraint(hint: Any) -> dict[str, Any]:
    """Describe a type in JSON Schema."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if a is type(None) else constraint(a) for a in inner]}
    if origin is tuple:
        size = {} if inner[-1] is Ellipsis else {"minItems": len(inner), "maxItems": len(inner)}
        return {"type": "array", "items": constraint(inner[0]), **size}
    if origin is dict:
        return {"type": "object", "additionalProperties": constraint(inner[1])}
    return {"type": PLAIN[hint][1]} if hint in PLAIN else {"$ref": f"#/$defs/{hint.__name__}"}


def documented(text: str) -> str:
    """Replace the tables between the markers of a document."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}"


def schema_text() -> str:
    return json.dumps(json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            print(markdown())
        case ["--json"]:
            print(schema_text(), end="")
        case ["--write"]:
            DOCUMENT.write_text(documented(DOCUMENT.read_text()))
            SCHEMA.write_text(schema_text())
        case _:
            sys.exit(__doc__)
