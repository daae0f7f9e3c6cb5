"""ReaderPool: many targets at once, some of which never answer."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from burnmeter.sources.engines import EngineReader, ReaderPool
from tests.reading import BODY_BYTES, SLOW_AND_LARGE, SPARE_SECONDS, TIMEOUT_SECONDS, target
from tests.servers import PAGE, Server, Talk, answer, is_silent, keeps_alive


@contextmanager
def pool(timeout_seconds: float = TIMEOUT_SECONDS, threads: int = 64) -> Iterator[ReaderPool]:
    made = ReaderPool(
        EngineReader(body_bytes=BODY_BYTES, timeout_seconds=timeout_seconds), threads=threads
    )
    try:
        yield made
    finally:
        made.close()


def test_bad_targets_neither_delay_nor_change_the_good_ones() -> None:
    bad = [is_silent, *(behaviour for behaviour, _, _ in SLOW_AND_LARGE.values())]
    servers = [Server(behaviour) for behaviour in bad]
    for server in servers:
        server.__enter__()
    try:
        with Server(keeps_alive) as good, pool() as made:
            targets = [target(s.url, f"bad-{n}") for n, s in enumerate(servers)]
            targets.insert(3, target(good.url, "good"))
            began = time.monotonic()
            readings = made.read_all(targets, TIMEOUT_SECONDS + 1.0)
            seconds = time.monotonic() - began
    finally:
        for server in servers:
            server.__exit__(None, None, None)

    assert readings.keys() == {t.name for t in targets}
    assert readings["good"].text == PAGE.decode()
    assert all(r.failure is not None for name, r in readings.items() if name != "good")
    assert seconds < TIMEOUT_SECONDS + 1.0 + SPARE_SECONDS


def test_a_read_that_hangs_is_left_behind_and_not_asked_again_until_it_ends() -> None:
    let_go = threading.Event()

    def behaviour(talk: Talk) -> None:
        while talk.hears():
            let_go.wait(5.0)
            talk.says(answer())

    with Server(behaviour) as slow, Server(keeps_alive) as good, pool(timeout_seconds=5.0) as made:
        targets = [target(slow.url, "slow"), target(good.url, "good")]
        for _ in range(3):
            began = time.monotonic()
            readings = made.read_all(targets, 0.2)
            assert time.monotonic() - began < 0.2 + SPARE_SECONDS
            failure = readings["slow"].failure
            assert failure is not None
            assert failure.kind == "timeout"
            assert "the read of `slow` began 0." in failure.message
            assert readings["good"].text == PAGE.decode()
        assert len(slow.requests) == 1
        let_go.set()
        time.sleep(0.3)
        assert made.read_all(targets, 2.0)["slow"].text == PAGE.decode()
        assert len(slow.requests) == 2


def test_more_hanging_reads_than_threads_are_said_and_do_not_run_later() -> None:
    with Server(is_silent) as slow, Server(keeps_alive) as good, pool(threads=2) as made:
        targets = [target(slow.url, f"slow-{n}") for n in range(2)] + [target(good.url, "good")]
        first = made.read_all(targets, 0.2)
        time.sleep(TIMEOUT_SECONDS)
        assert good.requests == []
        second = made.read_all(targets[2:], 2.0)

    assert first["good"].failure == (
        "timeout",
        "no thread was free to read `good`: too many reads hang",
    )
    assert second["good"].text == PAGE.decode()


def test_threads_are_kept_and_no_more_are_started_than_targets() -> None:
    before = set(threading.enumerate())
    with Server(keeps_alive) as server, pool() as made:
        targets = [target(server.url, f"t-{n}") for n in range(3)]
        for _ in range(20):
            readings = made.read_all(targets, 2.0)
            assert all(reading.failure is None for reading in readings.values())
        started = set(threading.enumerate()) - before
        assert server.connections == 3

    assert sum(thread.name.startswith("engine-reader") for thread in started) == 3


def test_a_program_ends_at_once_though_a_read_hangs() -> None:
    """In a process of its own, since only there can its end be waited for."""
    code = (
        "import sys\n"
        "from burnmeter.model import Target\n"
        "from burnmeter.sources.engines import EngineReader, ReaderPool\n"
        "pool = ReaderPool(EngineReader(body_bytes=1000, timeout_seconds=30.0))\n"
        "target = Target(name='a', url=sys.argv[1], origin='config')\n"
        "print(pool.read_all([target], 0.2)['a'].failure.kind)\n"
        "pool.close()\n"
    )
    with Server(is_silent) as server:
        command = [sys.executable, "-c", code, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=15.0, check=True)

    assert done.stdout == "timeout\n"
    assert done.stderr == ""
