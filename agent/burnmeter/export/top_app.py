"""`burnmeter top` on a terminal: keys, and where what stands. It draws; it decides no number.

Imported only when it is used: it needs Textual, which few need (`burnmeter[top]`). Colours are the
terminal's own sixteen, on its own background, so that they are right wherever it is; NO_COLOR is
Textual's to obey.
"""

import asyncio
import signal
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Resize
from textual.widgets import DataTable, Input, Static

from burnmeter.export import top_details, top_sections, top_status
from burnmeter.export.top_layout import (
    Line,
    Order,
    Row,
    Section,
    Table,
    rooms,
    shown_columns,
    table,
    visible,
)
from burnmeter.export.top_status import Mode, Seen
from burnmeter.export.top_widgets import Block, Help, text_of
from burnmeter.snapshot import Snapshot

LOOK_SECONDS: Final = 0.5
"""How often it is asked whether there is something new; an age is right to that."""
ALL: Final = "all"
WIDE: Final = (140, 48)
"""From this size on all sections are shown, if nobody has chosen one."""
LEAST_DETAILS: Final = 7
LEAST_BLOCK: Final = 5
"""Where there is no room for that much of each section, they are scrolled."""
KEYS_LINES: Final = 1
KEYS: Final = "1-6,0 section  / filter  s sort  r reverse  p pause  Enter more  ? help  q quit"
PROMPT: Final = "only rows with this text; Enter keeps, Esc clears"
STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)


class Feed(Protocol):
    """Where Snapshots come from. It never waits."""

    def seen(self) -> Seen: ...
    def age_seconds(self, snapshot: Snapshot) -> float: ...


def lines_of(made: Table) -> int:
    """How many a table takes with the titles of its columns, or with the words in its place."""
    if not made.rows:
        return 1
    return len(made.header) + sum(len(laid.lines) for laid in made.rows)


class Top(App[None]):
    """The screen."""

    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    Static { text-wrap: nowrap; text-overflow: clip; }
    #blocks { overflow-y: auto; scrollbar-size: 0 1; }
    #status, #blocks, Block, Block > Static, #prompt, #keys { height: auto; }
    Block > DataTable { height: 1fr; background: ansi_default; overflow-x: hidden;
        scrollbar-size: 0 1; }
    #details { height: 1fr; border-top: solid; border-title-align: right;
        border-title-background: ansi_default; border-title-color: ansi_default;
        scrollbar-size: 0 0; }
    #prompt { display: none; border: none; height: 1; padding: 0; background: ansi_default; }
    #keys { dock: bottom; height: 1; text-style: reverse; }
    DataTable > .datatable--cursor { text-style: reverse; background: ansi_default;
        color: ansi_default; }
    DataTable:blur > .datatable--cursor { text-style: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
        Binding("p,space", "pause", "pause"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(-1)", "sort back"),
        Binding("r", "turn", "reverse"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "leave", "back"),
        Binding("enter", "less", "less"),
        Binding("question_mark,h", "help", "help"),
        Binding("tab", "step(1)", "next", priority=True),
        Binding("shift+tab", "step(-1)", "previous", priority=True),
        Binding("0", "section('all')", "all"),
        *(
            Binding(str(number), f"section('{name}')", name)
            for number, name in enumerate(top_sections.NAMES, 1)
        ),
    ]

    def __init__(self, feed: Feed) -> None:
        # Said before NO_COLOR is looked at: else all would be black on black.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._feed = feed
        self._seen = Seen("")
        self._mode = Mode()
        self._chosen: str | None = None
        """A section's name, or ALL; None: by the size of the screen."""
        self._focused = top_sections.NAMES[0]
        self._has_all_details = False
        self._sections: dict[str, Section] = {}
        self._painted: object = None
        """What the sections on the screen were made of."""
        self._is_helping = False
        # Held, not looked for: a timer may ring while the screen is being taken down.
        self._status = Static(id="status")
        self._blocks = {name: Block(name) for name in top_sections.NAMES}
        self._stack = Vertical(*self._blocks.values(), id="blocks")
        self._detail = Static(id="detail")
        self._pane = VerticalScroll(self._detail, id="details", can_focus=True)
        self._prompt = Input(id="prompt", placeholder=PROMPT)

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self._status
        yield self._stack
        yield self._pane
        yield self._prompt
        yield Static(Text(KEYS, no_wrap=True, overflow="crop"), id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        if not self.is_headless:
            for number in STOPPING:
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.look()
        self.set_interval(LOOK_SECONDS, self.look)

    def on_resize(self, _: Resize) -> None:
        """Everything is laid out for a width."""
        self.call_after_refresh(self._draw)

    # --- what is shown -----------------------------------------------------------------------

    def look(self) -> None:
        """Is there something new?"""
        if not self._mode.is_paused:
            seen = self._feed.seen()
            if seen.snapshot is not None and seen.snapshot is not self._seen.snapshot:
                self._sections = top_sections.sections(seen.snapshot)
            self._seen = seen
        self._draw()

    @property
    def _width(self) -> int:
        """Of the sections: beside them there may be something to scroll by."""
        return max(0, self.size.width - 1)

    @property
    def _shown(self) -> tuple[str, ...]:
        """Names of the sections that are on the screen."""
        chosen = self._chosen
        if chosen is None:
            is_wide = self.size.width >= WIDE[0] and self.size.height >= WIDE[1]
            chosen = ALL if is_wide else self._focused
        return top_sections.NAMES if chosen == ALL else (chosen,)

    def _draw(self) -> None:
        """Put the present state on the screen: the status always, the rest if it is another."""
        if self._is_helping:
            return
        seen = self._seen
        age = self._feed.age_seconds(seen.snapshot) if seen.snapshot is not None else None
        status = top_status.status(seen, age, self._mode, self.size.width)
        self._status.update(text_of(status))
        shown = self._shown if self._sections else ()
        is_doubtful = top_status.is_doubtful(seen, age)
        orders = tuple(block.order for block in self._blocks.values())
        prompt = self._prompt.display
        here = (self._focused, self._has_all_details, prompt, is_doubtful)
        now = (self._sections, self.size, shown, orders, self._mode, here, len(status))
        if now == self._painted:
            return
        self._painted = now
        for name, block in self._blocks.items():
            block.display = name in shown and not self._has_all_details
        self._draw_blocks(shown, len(status) + prompt, is_doubtful=is_doubtful)
        if shown and self.screen_stack and self.focused is None:
            self._blocks[self._focused].rows.focus()
        self._draw_details()

    def _draw_blocks(self, shown: Sequence[str], taken: int, *, is_doubtful: bool) -> None:
        """Each what it wants, if there is room; the details have the rest."""
        width, blocks = self._width, self._blocks
        heads = 2 if len(shown) == 1 and self._mode.text else 1
        made = {
            name: table(self._sections[name], width, blocks[name].order, self._mode.text)
            for name in shown
        }
        wanted = [heads + lines_of(one) for one in made.values()]
        room = max(0, self.size.height - taken - KEYS_LINES - LEAST_DETAILS)
        given = rooms(wanted, room, LEAST_BLOCK if len(shown) > 1 else 0)
        self._stack.styles.max_height = room
        for name, wants, lines in zip(shown, wanted, given, strict=True):
            head = self._head(name, len(made[name].rows), is_cut=lines < wants)
            nothing = top_status.nothing(self._sections[name], self._mode)
            blocks[name].draw(head, made[name], nothing, width, is_doubtful=is_doubtful)
            blocks[name].styles.height = lines

    def _head(self, name: str, rows: int, *, is_cut: bool) -> list[Line]:
        """A bar for each of several; for one alone the names of all."""
        mode, section = self._mode._replace(section=self._focused), self._sections[name]
        is_alone = len(self._shown) == 1
        head = [top_status.tabs(self._sections, name)] if is_alone else []
        if mode.text or not is_alone:
            head.append(top_status.bar(section, rows, mode, self._width, is_cut=is_cut))
        return head

    def _row(self) -> tuple[Section, Row] | None:
        """The one that is chosen."""
        section = self._sections.get(self._focused)
        key = self._blocks[self._focused].chosen
        if section is None:
            return None
        return next(((section, row) for row in section.rows if row.key == key), None)

    def _draw_details(self) -> None:
        found, snapshot = self._row(), self._seen.snapshot
        lines: list[str] = []
        if found is not None and snapshot is not None:
            section, row = found
            known = top_details.details(snapshot, section.name, row)
            lines = top_details.laid(known, self.size.width)
        self._detail.update(Text("\n".join(map(visible, lines))))
        pane = self._pane
        more = "Enter: more" if len(lines) > pane.size.height else ""
        pane.border_title = "Enter: less" if self._has_all_details else more

    # --- keys --------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Let the numbers stand, or go on."""
        self._mode = self._mode._replace(is_paused=not self._mode.is_paused)
        self.look()

    def action_section(self, name: str) -> None:
        """Show one section, or all."""
        self._chosen = name
        if name != ALL:
            self._focused = name
        self._show_rows()

    def action_step(self, by: int) -> None:
        """The next section."""
        names = top_sections.NAMES
        self._focused = names[(names.index(self._focused) + by) % len(names)]
        if self._chosen not in (None, ALL):
            self._chosen = self._focused
        self._show_rows()

    def _show_rows(self) -> None:
        self._has_all_details = False
        self._draw()
        block = self._blocks[self._focused]
        block.rows.focus(scroll_visible=False)
        self.call_after_refresh(block.scroll_visible, animate=False, top=True)

    def action_sort(self, by: int) -> None:
        """By the next of the columns that are shown; before the first: as they are."""
        section = self._sections.get(self._focused)
        if section is None:
            return
        block = self._blocks[self._focused]
        names = [None, *shown_columns(section, self._width)]
        place = names.index(block.order.column) if block.order.column in names else 0
        block.order = Order(names[(place + by) % len(names)])
        self._draw()

    def action_turn(self) -> None:
        """The other way round."""
        block = self._blocks[self._focused]
        block.order = block.order._replace(is_reversed=not block.order.is_reversed)
        self._draw()

    def action_filter(self) -> None:
        """Ask for a text."""
        prompt = self._prompt
        prompt.display = True
        prompt.value = self._mode.text
        prompt.focus()
        self._draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what is left while it is typed."""
        self._mode = self._mode._replace(text=event.value.strip())
        self._draw()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Keep it."""
        self._prompt.display = False
        self._show_rows()

    def action_leave(self) -> None:
        """Out of what one is in: the details, the filter."""
        if self._has_all_details:
            self._show_rows()
            return
        self._prompt.display = False
        self._mode = self._mode._replace(text="")
        self._show_rows()

    def action_less(self) -> None:
        """The rows again; on a row, Enter is the table's own key."""
        if self._has_all_details:
            self._show_rows()

    def action_help(self) -> None:
        """What the keys do."""
        self._is_helping = True
        self.push_screen(Help(), self._helped)

    def _helped(self, _: None) -> None:
        self._is_helping = False
        self._draw()

    def on_data_table_row_selected(self, _: DataTable.RowSelected) -> None:
        """Enter: the details alone."""
        self._has_all_details = True
        self._pane.focus()
        self._draw()

    def on_data_table_row_highlighted(self, _: DataTable.RowHighlighted) -> None:
        """Another row under the cursor."""
        self._draw_details()


def run(feed: Feed) -> None:
    """Until somebody quits. Without the mouse, so that text can be marked and copied as ever."""
    Top(feed).run(mouse=False)
