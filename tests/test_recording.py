"""A recording keeps what was read, in little room, survives its recorder, and holds no secret.

What is fed back from it is test_replay.py's; what `--scrub` takes away is test_scrub.py's.
"""

import gzip
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnmeter.config import Config
from burnmeter.model import (
    Failure,
    Gpu,
    GpuProcess,
    GpuReading,
    PageReading,
    Process,
    ProcessReading,
    Target,
)
from burnmeter.sources.plain import from_plain, to_plain
from burnmeter.sources.recording import (
    Header,
    RawTick,
    Recorder,
    Recording,
    RecordingError,
    changed,
    difference,
)
from tests.recordings import ticks

HEADER = Header(
    is_simulated=False, has_gpus=True, has_processes=True, is_scrubbed=False, config=Config()
)
TIMES: dict[str, Any] = {"at_seconds": 9.5, "timestamp_seconds": 1e9, "duration_seconds": 0.25}


def target(name: str = "chat", **changes: Any) -> Target:
    return Target(name=name, url="http://127.0.0.1:8000/metrics", origin="config", **changes)


def page(text: str | None, failure: Failure | None = None, name: str = "chat") -> PageReading:
    return PageReading(name, 9.5, 1e9, 0.25, text, failure, len(text or ""))


def tick(**changes: Any) -> RawTick:
    """A tick of one target without a page; `changes` are fields of RawTick."""
    empty: dict[str, Any] = {"pages": {}, "targets": (target(),), "gpus": None, "processes": None}
    times = {
        "began_seconds": 9.0,
        "at_seconds": 10.0,
        "timestamp_seconds": 1e9,
        "started_timestamp_seconds": 9e8,
    }
    return RawTick(**(empty | times | changes))


def written(path: Path, *found: RawTick, header: Header = HEADER) -> Path:
    """A complete file with these ticks."""
    recorder = Recorder(path, header)
    for one in found:
        recorder.witness(one)
    recorder.close()
    assert recorder.stopped_by is None
    return path


def process(pid: int, parent_pid: int, *command: str, **changes: Any) -> Process:
    made = Process(
        pid=pid,
        parent_pid=parent_pid,
        started_timestamp_seconds=1e9,
        command=command,
        title="python3",
    )
    return replace(made, **changes)


def table(*found: Process) -> ProcessReading:
    return ProcessReading(**TIMES, processes={one.pid: one for one in found})


# --- what is kept --------------------------------------------------------------------------------


def test_what_was_read_comes_back_as_it_was(tmp_path: Path) -> None:
    gpu = Gpu(
        index=0,
        uuid="GPU-0",
        name="NVIDIA H100",
        power_watts=300.5,
        processes=(GpuProcess(pid=42, memory_bytes=None),),
        unsupported=("energy_joules",),
        xid_counts={79: 2},
    )
    lost = Gpu(index=1, uuid="GPU-1", name="NVIDIA H100", failure=Failure("gone", "fell off"))
    found = tick(
        targets=(target(pid=41, started_timestamp_seconds=5.5), target("code")),
        pages={
            "chat": page('a{b="c"} 1\n'),
            "code": page(None, Failure("refused", "nothing listens"), "code"),
        },
        gpus=GpuReading(**TIMES, gpus=(gpu, lost), driver_version="570"),
        processes=table(process(41, 1, "vllm", "serve"), process(42, 41, "\udc80")),
    )

    assert ticks(written(tmp_path / "r.jsonl.gz", found)) == [found]


def test_a_target_may_lack_a_page_and_a_page_may_come_back_later(tmp_path: Path) -> None:
    seen = [
        tick(pages={"chat": page("a 1\nb 2")}),
        tick(),
        tick(pages={"chat": page("a 1\nb 3")}),
        tick(targets=()),
        tick(pages={"chat": page("a 1\nb 4")}),
        tick(pages={"chat": page("")}),
        tick(pages={"chat": page("")}),
    ]

    assert ticks(written(tmp_path / "r.jsonl.gz", *seen)) == seen


def test_a_page_that_did_not_change_is_not_stored_again(tmp_path: Path) -> None:
    text = "".join(f"metric_{n} {n * 7919 % 1000}\n" for n in range(1000))
    once = written(tmp_path / "once.jsonl.gz", tick(pages={"chat": page(text)}))
    often = written(tmp_path / "often.jsonl.gz", *[tick(pages={"chat": page(text)})] * 100)

    assert often.stat().st_size < once.stat().st_size * 2
    assert [found.pages["chat"].text for found in ticks(often)] == [text] * 100


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "a 1", "a 12", "é 3", "b"])), min_size=2))
def test_a_page_is_what_it_was_after_any_change(pages: list[list[str]]) -> None:
    before = "\n".join(pages[0])
    for lines in pages[1:]:
        now = "\n".join(lines)
        changes = difference(before, now)
        if changes is None:
            assert now.count("\n") != before.count("\n")
        else:
            assert changed(before, json.loads(json.dumps(changes))) == now
        before = now


def test_only_processes_near_engines_and_gpus_are_kept(tmp_path: Path) -> None:
    processes = table(
        process(1, 0, "init"),
        process(41, 1, "vllm"),
        process(42, 41, "worker"),
        process(50, 1, "sshd"),
        process(51, 50, "bash"),
        process(60, 50, "train.py"),
    )
    held = Gpu(index=0, uuid="GPU-0", name="H100", processes=(GpuProcess(pid=60),))

    (found,) = ticks(
        written(
            tmp_path / "r.jsonl.gz",
            tick(
                targets=(target(pid=41),),
                gpus=GpuReading(**TIMES, gpus=(held,)),
                processes=processes,
            ),
        )
    )

    assert found.processes is not None
    assert sorted(found.processes.processes) == [1, 41, 42, 50, 60]


# --- secrets -------------------------------------------------------------------------------------

KEY = "s3cr3t-0123456789"


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("vllm", "serve", "--api-key", KEY), ("vllm", "serve", "--api-key", "REMOVED")),
        (("vllm", "--api-key", KEY, KEY, "--port", "8000"), None),
        (("vllm", f"--api-key={KEY}"), ("vllm", "--api-key=REMOVED")),
        (("env", f"HF_TOKEN={KEY}", "vllm"), ("env", "HF_TOKEN=REMOVED", "vllm")),
        (("curl", "-H", f"Authorization: Bearer {KEY}"), None),
        (("sh", "-c", f"API_KEY={KEY} vllm serve"), None),
        (("sh", "-c", f"export TOKEN={KEY}; exec vllm"), None),
        (("vllm", "--config", f'{{"api_key": "{KEY}"}}'), None),
        (("vllm", f"http://me:{KEY}@host/metrics?key={KEY}"), ("vllm", "http://host/metrics")),
        (("vllm", f"--url=redis://:{KEY}@host/0"), ("vllm", "--url=redis://host/0")),
        (("client", f"sk-{KEY}"), ("client", "REMOVED")),
        (("client", f"-k=hf_{KEY.replace('-', '')}"), None),
        (("vllm", "serve", "Qwen/Qwen3-8B", "--port", "8000"), None),
    ],
)
def test_no_command_line_tells_a_secret(
    command: tuple[str, ...], kept: tuple[str, ...] | None, tmp_path: Path
) -> None:
    titled = process(41, 1, *command, title=" ".join(command))
    path = tmp_path / "r.jsonl.gz"

    (found,) = ticks(written(path, tick(targets=(target(pid=41),), processes=table(titled))))

    assert found.processes is not None
    bare = found.processes.processes[41]
    assert KEY not in json.dumps(to_plain(bare))
    assert KEY.replace("-", "") not in json.dumps(to_plain(bare))
    if kept is not None:
        assert bare.command == kept
    if KEY not in " ".join(command) and KEY.replace("-", "") not in " ".join(command):
        assert bare.command == command


def test_no_target_and_no_config_tells_where_a_secret_is(tmp_path: Path) -> None:
    known = replace(
        target(token_file="/etc/keys/chat", token_environment="CHAT_KEY"),
        url="http://me:word@10.0.0.7:8000/metrics?key=abc#part",
    )
    header = replace(HEADER, config=Config(targets=(known,), listen="10.0.0.9:1"))

    path = written(tmp_path / "r.jsonl.gz", tick(targets=(known,)), header=header)

    text = gzip.decompress(path.read_bytes()).decode()
    assert '"url":"http://10.0.0.7:8000/metrics"' in text
    for secret in ("keys", "CHAT_KEY", "word@", "abc", "part", "10.0.0.9"):
        assert secret not in text


def test_an_address_in_a_failures_words_loses_its_secrets(tmp_path: Path) -> None:
    words = "points to `https://me:word@login.example/in?key=abc`, and nothing follows it"
    failed = page(None, Failure("redirect", words))

    (found,) = ticks(written(tmp_path / "r.jsonl.gz", tick(pages={"chat": failed})))

    assert found.pages["chat"].failure == Failure(
        "redirect", "points to `https://login.example/in`, and nothing follows it"
    )


def test_a_recording_is_its_owners_alone_and_takes_no_files_place(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl.gz", tick())

    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(RecordingError, match="is there already; name another file"):
        Recorder(path, HEADER)
    with pytest.raises(RecordingError, match="cannot be written: No such file or directory"):
        Recorder(tmp_path / "nowhere" / "r.jsonl.gz", HEADER)


# --- ends ----------------------------------------------------------------------------------------


def pages_of(*texts: str) -> list[RawTick]:
    return [tick(pages={"chat": page(text)}) for text in texts]


def test_a_recorder_that_is_killed_leaves_every_tick_it_has_seen(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    seen = pages_of("a 1", "a 2", "a 3")
    recorder = Recorder(path, HEADER)
    for one in seen:
        recorder.witness(one)

    recording = Recording(path)  # While the recorder still has it open, as a kill would leave it.
    found = list(recording.ticks())
    recorder.close()

    assert found == seen
    assert recording.cut == "is not complete: the recorder was killed, or the file was cut"


def test_a_file_cut_anywhere_gives_the_ticks_before_the_cut(tmp_path: Path) -> None:
    seen = pages_of(*(f"a {n}\nb {n * n}" for n in range(5)))
    whole = written(tmp_path / "r.jsonl.gz", *seen).read_bytes()
    counts = []

    for size in range(len(whole)):
        path = tmp_path / "cut.jsonl.gz"
        path.write_bytes(whole[:size])
        try:
            recording = Recording(path)
        except RecordingError:
            counts.append(0)
            continue
        found = list(recording.ticks())
        assert found == seen[: len(found)]
        assert recording.cut is not None
        counts.append(len(found))

    assert counts == sorted(counts)
    assert set(counts) == set(range(6))


def test_a_damaged_file_never_ends_in_a_traceback(tmp_path: Path) -> None:
    whole = written(tmp_path / "r.jsonl.gz", *pages_of("a 1", "a 2")).read_bytes()
    path = tmp_path / "bad.jsonl.gz"

    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert len(list(Recording(path).ticks())) <= 2
        except RecordingError:
            continue


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"null",
        b"7",
        b'{"pages": {"chat": 3}}',
        b'{"pages": {"chat": {"changes": []}}}',
        b'{"pages": {"chat": {"changes": {"steps": [9], "kept": [0], "rests": "x"}}}}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_tick_ends_the_recording(line: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl.gz", *pages_of("a 1"))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + line + b"\n"))

    recording = Recording(path)

    assert len(list(recording.ticks())) == 1
    assert recording.cut is not None
    assert recording.cut.startswith("tick 2 cannot be read: ")


def test_a_full_file_ends_the_recording_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    recorder = Recorder(path, HEADER, limit_bytes=5000)
    texts = [os.urandom(500).hex() for _ in range(20)]
    for one in pages_of(*texts):
        recorder.witness(one)
    recorder.close()

    found = [one.pages["chat"].text for one in ticks(path)]

    assert recorder.stopped_by == "its limit of 5000 bytes"
    assert len(found) == recorder.ticks
    assert found == texts[: len(found)]
    assert 5000 <= path.stat().st_size < 6000


def test_a_full_disk_ends_the_recording_and_no_tick(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    recorder = Recorder(path, HEADER)
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), recorder._raw.fileno())

    recorder.witness(tick())
    recorder.witness(tick())
    recorder.close()

    assert recorder.stopped_by == "the disk: No space left on device"
    assert recorder.ticks == 0


# --- forms ---------------------------------------------------------------------------------------


def with_header(path: Path, **changes: Any) -> Path:
    header, *rest = gzip.decompress(written(path, tick()).read_bytes()).splitlines()
    first = json.dumps(json.loads(header) | changes).encode()
    path.write_bytes(gzip.compress(b"\n".join([first, *rest, b""])))
    return path


def test_a_newer_form_is_refused_with_what_would_read_it(tmp_path: Path) -> None:
    path = with_header(tmp_path / "r.jsonl.gz", burnmeter_recording=2, version="9.9")

    with pytest.raises(RecordingError, match=r"form 2, made by burnmeter 9\.9.*with a newer one"):
        Recording(path)


def test_what_a_later_version_added_is_passed_over(tmp_path: Path) -> None:
    path = with_header(tmp_path / "r.jsonl.gz", weather="fine")

    assert len(ticks(path)) == 1


@pytest.mark.parametrize(
    "content", [b"", b"a 1\n", gzip.compress(b"a 1\n"), gzip.compress(b"{}\n")]
)
def test_another_file_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.prom"
    path.write_bytes(content)

    with pytest.raises(RecordingError, match=r"page\.prom: "):
        Recording(path)


@dataclass(frozen=True)
class Newer:
    """A value to which a later version has added `more` and taken `lost` away."""

    kept: tuple[int, ...]
    more: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


def test_unknown_fields_are_passed_over_and_missing_ones_take_their_default() -> None:
    assert from_plain(Newer, {"kept": [1, 2], "lost": True}) == Newer((1, 2))


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        ({}, "Newer: lacks kept"),
        ({"kept": 3}, "Newer.kept: 3 is no list"),
        ({"kept": [True]}, r"Newer.kept\[0\]: True is no int"),
        ({"kept": [], "more": 3}, "Newer.more: 3 is no str"),
        ({"kept": [], "pairs": [["a"]]}, r"Newer.pairs\[0\]: 1 values where 2 belong"),
        (None, "Newer: None is no Newer"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(plain: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_plain(Newer, plain)
