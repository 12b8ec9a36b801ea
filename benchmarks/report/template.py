"""Render the HTML pages with Jinja2. Everything is escaped: bundles and boards may have any name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.report import wording
from benchmarks.report.inline_svg import readable


def render(name: str, filters: Mapping[str, Callable[..., Any]], **context: Any) -> str:
    """Render the template `name`. Characters that HTML must not contain are replaced."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    environment.filters |= {"ms": wording.ms, "number": wording.number, "share": wording.share, **filters}
    return environment.get_template(name).render(context)


def _finalize(value: Any) -> Any:
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
