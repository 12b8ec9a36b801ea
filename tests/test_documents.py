"""The documents are short enough to be read, and what they point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PATH = re.compile(r"`((?:device|train|export|benchmarks|tests|scripts|docs|constraints|results)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(?:#([\w-]+))?\)")


def _anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_at_most_10_kb() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10 * 1024


def test_the_readme_shows_how_to_run_and_how_to_test() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make run" in readme
    assert "make test" in readme


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = set(PATH.findall(document.read_text()))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    dead = []
    for path, anchor in LINK.findall(document.read_text()):
        target = document.parent / path
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(path + (f"#{anchor}" if anchor else ""))
    assert dead == []
