"""A recording: all that the sources brought, tick by tick, in one gzip'd file of JSON lines.

The first line says what follows: form, version, and what of the config the pipeline goes by. Each
further line is one tick as the loop had it before anything was made of it, failures included, so
that replay.py can bring it all again. It is no database: nothing is computed here.

Every tick is flushed, so the file of a recorder that was killed is readable up to its last tick.
Surprising: of a page only what has changed on each line is kept. Pages lie further apart than
gzip looks back, which would store each of them anew.
"""

import gzip
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from burnmeter import __version__
from burnmeter.config import Config
from burnmeter.errors import BurnmeterError
from burnmeter.model import GpuReading, Launch, PageReading, ProcessReading, Target
from burnmeter.model_facts.known import LibraryReading
from burnmeter.sources.plain import from_plain, to_plain
from burnmeter.sources.price_file import PriceReading
from burnmeter.sources.scrub import Scrubber
from burnmeter.sources.secrets import without_secrets
from burnmeter.tree import ancestors

log = logging.getLogger("burnmeter")

FORM: Final = 1
"""Raised when an older burnmeter would misread the file; a new field is no reason."""
MARK: Final = "burnmeter_recording"
FILE_BYTES: Final = 200_000_000
LINE_BYTES: Final = 100_000_000
"""One tick, unpacked. A file with longer lines is not read."""
PIECE_BYTES: Final = 1 << 16
CONFIG_KEYS: Final = (
    *("node", "interval_seconds", "recent_seconds", "stalled_after_seconds"),
    *("models", "owners", "prices", "node_labels", "objectives", "limits"),
)
"""What the pipeline goes by; the rest of a config (addresses, files) never leaves its machine."""


class RecordingError(BurnmeterError):
    """A file that is no recording, or that cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTick:
    """All that the sources brought for one tick, before anything was made of it."""

    began_seconds: float
    at_seconds: float
    """Monotonic, when all had been read; `began_seconds` before anything was asked."""
    timestamp_seconds: float
    started_timestamp_seconds: float
    """When the agent began to watch."""
    targets: tuple[Target, ...]
    pages: Mapping[str, PageReading]
    """Name of each target that was read -> its reading."""
    gpus: GpuReading | None
    processes: ProcessReading | None
    """None: not looked at in this tick."""
    launches: tuple[Launch, ...] = ()
    """Engines that were started here, near the holders of GPUs."""
    prices: PriceReading | None = None
    models: LibraryReading | None = None
    """Without a library: as before."""
    ended_pids: tuple[int, ...] = ()
    """Engines' processes that were found to have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a recording says of itself."""

    version: str = __version__
    """Of the burnmeter that recorded."""
    is_simulated: bool
    has_gpus: bool
    has_processes: bool
    has_prices: bool = False
    has_models: bool = False
    is_scrubbed: bool
    config: Config
    """Only what CONFIG_KEYS name is written; the rest is read as the default."""


# --- writing -------------------------------------------------------------------------------------


class Recorder:
    """Writes ticks until its file is full, the disk is, or it is closed. Never raises in a tick."""

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        scrubber: Scrubber | None = None,
        limit_bytes: int = FILE_BYTES,
    ) -> None:
        """Raises RecordingError if the file is there already or cannot be made."""
        self.ticks = 0
        self.targets = 0
        self.stopped_by: str | None = None
        """Why no more is written; None: it goes on."""
        self._scrubber = scrubber
        self._limit_bytes = limit_bytes
        self._texts: dict[str, str] = {}
        self._ended: set[int] = set()
        self._lock = threading.Lock()
        self._size_bytes = 0
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise RecordingError(f"{path}: is there already; name another file") from None
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror}") from None
        self._raw = os.fdopen(number, "wb", buffering=0)
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", filename="", mtime=0)
        plain = to_plain(header)
        plain["config"] = {key: plain["config"][key] for key in CONFIG_KEYS}
        if scrubber is not None:
            scrubber.config(plain["config"])
        self._write({MARK: FORM, **plain})

    @property
    def size_bytes(self) -> int:
        """Of the file, so far."""
        return self._size_bytes

    def witness(self, tick: RawTick) -> None:
        """Write one tick, and let nothing of it be lost if we die now."""
        ended, self._ended = tuple(sorted(self._ended)), set()
        with self._lock:
            if self.stopped_by is not None or self._raw.closed:
                return
            try:
                self._take(replace(tick, ended_pids=ended))
            except Exception as error:  # The agent goes on, whatever becomes of the file.
                log.exception("recording ends; this is a bug in burnmeter, please report it")
                self.stopped_by = f"a bug: {error!r}"

    def noting(self, is_running: Callable[[int], bool]) -> Callable[[int], bool]:
        """The same question, with what was found to have ended noted for the tick."""

        def ask(pid: int) -> bool:
            runs = is_running(pid)
            if not runs:
                self._ended.add(pid)
            return runs

        return ask

    def close(self) -> None:
        """End the file; it is complete then."""
        with self._lock:
            try:
                self._file.close()
                self._size_bytes = self._raw.tell()
            except OSError as error:
                self.stopped_by = self.stopped_by or f"the disk: {error.strerror}"
            finally:
                self._raw.close()

    def _take(self, tick: RawTick) -> None:
        if tick.processes is not None:
            tick = replace(tick, processes=near(tick.processes, owners(tick)))
        plain = without_secrets(to_plain(tick))
        if self._scrubber is not None:
            plain = self._scrubber.tick(plain)
        names = {target["name"] for target in plain["targets"]}
        self._texts = {name: text for name, text in self._texts.items() if name in names}
        for name, reading in plain["pages"].items():
            text = reading["text"]
            if text is not None:
                changes = difference(self._texts.get(name), text)
                if changes is not None:
                    del reading["text"]
                    reading["changes"] = changes
                self._texts[name] = text
        if self._write(plain):
            self.ticks += 1
            self.targets = len(names)

    def _write(self, plain: Any) -> bool:
        line = json.dumps(plain, separators=(",", ":")).encode() + b"\n"
        if len(line) > LINE_BYTES:
            self.stopped_by = f"a tick of {len(line)} bytes; the most is {LINE_BYTES}"
            return False
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self.stopped_by = f"the disk: {error.strerror}"
            return False
        self._size_bytes = self._raw.tell()
        if self._size_bytes >= self._limit_bytes:
            self.stopped_by = f"its limit of {self._limit_bytes} bytes"
        return True


def difference(before: str | None, now: str) -> dict[str, Any] | None:
    """What has changed on each line, in columns, which take half the room of rows once packed.

    `steps` from one changed line to the next, the characters `kept` of each, and the `rests` that
    follow them. None if there was nothing before, or the page is laid out anew.
    """
    if before is None:
        return None
    old, new = before.split("\n"), now.split("\n")
    if len(old) != len(new):
        return None
    steps: list[int] = []
    kept: list[int] = []
    rests: list[str] = []
    last = 0
    for number, (was, is_now) in enumerate(zip(old, new, strict=True)):
        if was != is_now:
            steps.append(number - last)
            kept.append(_same_characters(was, is_now))
            rests.append(is_now[kept[-1] :])
            last = number
    return {"steps": steps, "kept": kept, "rests": "\n".join(rests)}


def _same_characters(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def changed(before: str | None, changes: dict[str, Any]) -> str:
    """The page after `changes`. Raises ValueError if they are of another page."""
    if before is None:
        raise ValueError("changes of a page that did not come before")
    lines = before.split("\n")
    number = 0
    try:
        steps = changes["steps"]
        rests = changes["rests"].split("\n") if steps else []
        for step, kept, rest in zip(steps, changes["kept"], rests, strict=True):
            number += step
            lines[number] = lines[number][:kept] + rest
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"changes that fit no page: {error!r}") from None
    return "\n".join(lines)


def near(reading: ProcessReading, pids: set[int]) -> ProcessReading:
    """Only the processes `pids`, what is above them and what is below them."""
    table = reading.processes
    above = {pid: ancestors(pid, table) for pid in table}
    kept = {pid for pid, line in above.items() if pid in pids or not pids.isdisjoint(line)}
    kept |= {one for pid in pids if pid in above for one in above[pid]}
    return replace(reading, processes={pid: table[pid] for pid in table if pid in kept})


def owners(tick: RawTick) -> set[int]:
    """The processes that matter: engines, and who holds a GPU."""
    gpus = tick.gpus.gpus if tick.gpus else ()
    holders = {one.pid for gpu in gpus for one in gpu.processes or ()}
    return holders | {target.pid for target in tick.targets if target.pid is not None}


# --- reading -------------------------------------------------------------------------------------


class Recording:
    """A file as it is read. `cut` says, once all ticks were read, how it ends too soon."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError if it is no recording, or one of a newer form."""
        self.path = path
        self.cut: str | None = None
        self._texts: dict[str, str] = {}
        self._lines = self._read_lines()
        self.header = self._header()

    def ticks(self) -> Iterator[RawTick]:
        """All ticks, in order; a line that is no tick ends them."""
        for number, line in enumerate(self._lines, 1):
            try:
                yield self._tick(json.loads(line))
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                self.cut = f"tick {number} cannot be read: {error}"
                self._lines.close()
                return

    def _header(self) -> Header:
        line = next(self._lines, None)
        if line is None:
            raise RecordingError(f"{self.path}: {self.cut or 'holds nothing'}")
        try:
            plain = json.loads(line)
            form = plain[MARK]
            if isinstance(form, int) and form > FORM:
                raise RecordingError(
                    f"{self.path}: is a recording of form {form}, made by burnmeter"
                    f" {plain.get('version', '?')}; this one, {__version__}, reads form {FORM}"
                    " and below: replay it with a newer one"
                )
            return from_plain(Header, plain)
        except (ValueError, KeyError, TypeError, RecursionError):
            text = "is no recording; make one with `burnmeter record --out FILE`"
            raise RecordingError(f"{self.path}: {text}") from None

    def _tick(self, plain: Any) -> RawTick:
        pages = plain.get("pages") if isinstance(plain, dict) else None
        for name, page in (pages or {}).items():
            if "changes" in page:
                page["text"] = changed(self._texts.get(name), page["changes"])
        tick = from_plain(RawTick, plain)
        names = {target.name for target in tick.targets}
        texts = {n: reading.text for n, reading in tick.pages.items() if reading.text is not None}
        self._texts = {n: text for n, text in (self._texts | texts).items() if n in names}
        return tick

    def _read_lines(self) -> Generator[bytes, None, None]:
        """Lines as far as they can be unpacked; what is missing at the end is said in `cut`."""
        begun: list[bytes] = []
        begun_bytes = 0
        for piece in self._unpacked():
            *lines, left = piece.split(b"\n")
            if lines:
                yield b"".join([*begun, lines[0]])
                yield from lines[1:]
                begun, begun_bytes = [], 0
            begun.append(left)
            begun_bytes += len(left)
            if begun_bytes > LINE_BYTES:
                self.cut = f"holds a line of more than {LINE_BYTES} bytes"
                return
        if begun_bytes > 0 and self.cut is None:
            self.cut = "ends in the middle of a line"

    def _unpacked(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            with self.path.open("rb") as file:
                packed = file.read(PIECE_BYTES)
                while packed and not unpacker.eof:
                    yield unpacker.decompress(packed, PIECE_BYTES)
                    packed = unpacker.unconsumed_tail or file.read(PIECE_BYTES)
        except zlib.error:
            self.cut = "is damaged, or was never packed with gzip"
        except OSError as error:
            self.cut = f"cannot be read: {error.strerror}"
        if self.cut is None and not unpacker.eof:
            self.cut = "is not complete: the recorder was killed, or the file was cut"
