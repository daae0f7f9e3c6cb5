"""Pictures in the repository: each that a document shows is there, small, and shown by one."""

import re
from io import BytesIO

import pytest
from PIL import Image

from tests import page_pictures, snapshots
from tests.parts import ROOT

FOLDER = ROOT / "agent" / "pictures"
DOCUMENTS = [ROOT / "README.md", ROOT / "dashboards" / "README.md", FOLDER / "README.md"]
SMALL_BYTES = 100_000


def named() -> dict[str, str]:
    """Picture that a document shows, by its path -> what the document says it is."""
    return {
        str((document.parent / path).resolve().relative_to(ROOT)): text
        for document in DOCUMENTS
        for text, path in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", document.read_text("utf-8"))
    }


def test_every_picture_that_is_shown_is_there_and_every_one_there_is_shown() -> None:
    there = {str(path.relative_to(ROOT)) for path in FOLDER.iterdir() if path.suffix != ".md"}

    assert set(named()) == there


def test_every_picture_says_what_is_in_it() -> None:
    said = list(named().values())

    assert all(len(text) > 20 for text in said)
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("picture", page_pictures.ALL, ids=lambda picture: picture.file)
def test_the_pictures_of_the_page_are_small_and_as_wide_as_they_say(
    picture: page_pictures.Picture,
) -> None:
    data = (FOLDER / picture.file).read_bytes()

    assert len(data) < SMALL_BYTES
    assert Image.open(BytesIO(data)).width == picture.width
    assert picture.state in snapshots.ALL
