"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("deploy/*/*.md")]
LINK = re.compile(r"\]\((?!https?://)(?P<file>[^)#]*)(?:#(?P<part>[^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as forges make them."""
    texts = HEADING.findall(document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for link in LINK.finditer(document.read_text(encoding="utf-8")):
        target = (document.parent / link["file"]).resolve() if link["file"] else document

        assert target.exists(), link.group()
        assert not link["part"] or link["part"] in anchors(target), link.group()


def test_every_picture_is_shown() -> None:
    """What nothing shows any more is not kept."""
    shown = {link["file"] for link in LINK.finditer((PROJECT / "docs" / "operating.md").read_text(encoding="utf-8"))}

    assert {f"images/{path.name}" for path in (PROJECT / "docs" / "images").iterdir()} <= shown
