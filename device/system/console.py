"""What all commands share: --json, --quiet, logging to stderr, one JSON object as the last line of stdout."""

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from device.system import journal

Parser = argparse.ArgumentParser


def new_parser(command: str, purpose: str, example: str) -> Parser:
    """A parser with --json and --quiet; its --help ends with an example."""
    parser = argparse.ArgumentParser(
        prog=f"deblurkit {command}",
        description=purpose,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    parser.add_argument("--quiet", action="store_true", help="only warnings and errors on stderr, no progress bar")
    return parser


def start_logging(quiet: bool) -> None:
    """Log to stderr; if that is the journal, with priorities and a limit for repeated messages."""
    level = logging.WARNING if quiet else logging.INFO
    if journal.is_journal(sys.stderr):
        logging.basicConfig(handlers=[journal.handler()], level=level, force=True)
    else:
        logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s", force=True)
    for noisy in ("matplotlib", "PIL", "h5py", "tensorflow", "absl", "jax", "tf2onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Aligned columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])

    return "\n".join([line(header), *(line(row) for row in rows)])


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout."""
    print(json.dumps(record), flush=True)


@contextmanager
def quiet_stdio() -> Iterator[None]:
    """Hide what native libraries print; show it if the code inside fails."""
    saved = [(stream, os.dup(stream.fileno())) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None]
    with tempfile.TemporaryFile() as noise:
        for stream, _ in saved:
            stream.flush()
            os.dup2(noise.fileno(), stream.fileno())
        failed = True
        try:
            yield
            failed = False
        finally:
            for stream, copy in saved:
                stream.flush()
                os.dup2(copy, stream.fileno())
                os.close(copy)
            if failed:
                noise.seek(0)
                sys.stderr.write(noise.read().decode(errors="replace"))
