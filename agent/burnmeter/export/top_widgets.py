"""The parts of `burnmeter top`'s screen: lines with their styles, a section's table, the help.

Imported only with top_app: it needs Textual.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from burnmeter.export.top_layout import HEAD, Line, Order, Table, visible
from burnmeter.export.top_status import ALARM, HELP

STYLES: Final = {
    "good": "green",
    "burning": "bold red",
    "down": "bold red",
    "not_measured": "yellow",
    "look": "yellow",
    HEAD: "bold",
    ALARM: "bold reverse",
}
"""A tone -> how it is drawn. Whatever it says is in the text, too."""
OLD: Final = "dim"


def text_of(lines: Sequence[Line], style: str = "") -> Text:
    """Lines with their styles, or all in one. Nothing in them is markup."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for said, tone in line:
            text.append(visible(said), style or STYLES.get(tone, ""))
    return text


class Help(ModalScreen[None]):
    """What the keys do and the signs mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,h,enter", "dismiss", "back"),
        Binding("q,ctrl+c", "app.quit", "quit"),
    ]
    CSS = """
    Help { align: center middle; background: ansi_default; }
    Help Static { width: 78; height: auto; max-height: 100%; border: round; padding: 0 1; }
    """

    def compose(self) -> ComposeResult:
        """The text in the middle."""
        yield Static(Text(HELP), markup=False)


class Block(Vertical):
    """One section: its name, the titles of its columns, its rows."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self.section = name
        self.order = Order()
        self.keys: tuple[str, ...] = ()
        self.rows: DataTable[Text] = DataTable(
            id=f"{name}-rows", show_header=False, cursor_type="row", cell_padding=0
        )
        # The table's own header would be centred over its one column.
        self._head = Static(id=f"{name}-head")
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        """Heading and table."""
        yield self._head
        yield self.rows

    @property
    def chosen(self) -> str | None:
        """The key of the row under the cursor."""
        place = self.rows.cursor_row
        return self.keys[place] if 0 <= place < len(self.keys) else None

    def draw(
        self, head: Sequence[Line], made: Table, empty: str, width: int, *, is_doubtful: bool
    ) -> None:
        """Show other rows; the cursor stays on its own, wherever that stands now.

        What is no longer how things are has no colour of a state.
        """
        state = (tuple(head), made, empty, width, is_doubtful)
        if state == self._drawn:
            return
        self._drawn = state
        header = made.header if made.rows else (((f"  {empty}", ""),),)
        self._head.update(text_of([*head, *header]))
        before, rows = self.chosen, self.rows
        top = rows.scroll_y
        rows.clear(columns=True)
        rows.add_column("", width=width, key="line")
        for laid in made.rows:
            rows.add_row(text_of(laid.lines, OLD if is_doubtful else ""), height=len(laid.lines))
        self.keys = tuple(laid.key for laid in made.rows)
        if before in self.keys:
            rows.move_cursor(row=self.keys.index(before), scroll=False)
            rows.scroll_to(y=top, animate=False, immediate=True)
