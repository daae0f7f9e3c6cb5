"""The live page as whoever looks at it has it: its words, and what stands in its attributes."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from burnmeter.export import web
from burnmeter.snapshot import Snapshot


class Reader(HTMLParser):
    """What a browser would make of a page: its tags, its attributes and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def values(self, name: str) -> Iterator[str]:
        return (given[name] or "" for _, given in self.tags if name in given)


def words(text: str) -> str:
    """The page's words, with single spaces."""
    return re.sub(r"\s+", " ", Reader(text).words)


def page(snapshot: Snapshot) -> str:
    """The live page of a Snapshot."""
    return web.render(snapshot, b"").page.decode()


def tile(snapshot: Snapshot, index: int) -> str:
    """The markup of one GPU."""
    (found,) = re.findall(
        rf'<article class="tile[^>]*>\s*<h3[^>]*><span>GPU {index}</span>.*?</article>',
        page(snapshot),
        re.DOTALL,
    )
    return str(found)


def fact(text: str, name: str) -> str:
    """The value that stands below a name; its title, where that is what it says."""
    (found,) = re.findall(rf"<dt[^>]*>{re.escape(name)}</dt><dd>(.*?)</dd>", text, re.DOTALL)
    return words(found).strip()
