"""An agent from its start to the signal that ends it. No click command is here, only what they run.

Surprising: the main thread does nothing but wait for a signal, and ticks happen beside it, so that
no source that hangs can delay the end.
"""

import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import click

from burnmeter import __version__, reports, wiring
from burnmeter.config import Config
from burnmeter.export.server import Limits, Server
from burnmeter.export.web import application
from burnmeter.loop import Agent, World
from burnmeter.sources.recording import Recorder

LOG: Final = logging.getLogger(__name__)
STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP: the terminal was closed."""
WAKE_SECONDS: Final = 0.25
LAST_TICK_SECONDS: Final = 0.5
"""A tick under way at the end may finish within this; a longer one is left behind."""


def serve(settings: Config, world: World) -> None:
    """Tick and answer until a signal says to stop."""
    stop, orders = threading.Event(), told_to_stop()
    agent = Agent(settings, wiring.with_alerting(world, settings))
    ticks = threading.Thread(target=agent.run, args=(stop,), name="ticks", daemon=True)
    app = application(lambda: agent.outlet, clock=world.wall_clock)
    limits = Limits(waiting_connections=settings.limits.clients)
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    try:
        with Server(app, settings.listen_host, settings.listen_port, limits) as server:
            click.echo(f"burnmeter {__version__} watches {settings.node}")
            click.echo(f"  live page  http://{host}:{server.port}/")
            click.echo(f"  metrics    http://{host}:{server.port}/metrics")
            ticks.start()
            await_order(orders)
            hurry()
            stop.set()
            ticks.join(LAST_TICK_SECONDS)
    finally:
        agent.close()
    LOG.info("burnmeter stopped")  # Not echo: a closed terminal must not make an error of it.


def told_to_stop() -> "queue.SimpleQueue[int]":
    """Holds the signals that said so. What whoever started us ignores (nohup) stays ignored."""
    orders = queue.SimpleQueue[int]()
    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            # Not Event.set, which takes a lock that the interrupted thread may hold.
            signal.signal(number, lambda got, _: orders.put(got))
    return orders


def await_order(
    orders: "queue.SimpleQueue[int]", is_over: Callable[[], bool] = lambda: False
) -> None:
    """Return once a signal has said to stop, or it is over by itself.

    A signal that comes in the instant before the main thread blocks is seen by Python only when it
    wakes, so it wakes now and then.
    """
    while not is_over():
        with suppress(queue.Empty):
            orders.get(timeout=WAKE_SECONDS)
            return


def hurry() -> None:
    """From now on a signal ends us at once; but a closing terminal sends SIGHUP more than once."""
    for number in STOPPING:
        is_hangup = number == signal.SIGHUP
        signal.signal(number, signal.SIG_IGN if is_hangup else signal.SIG_DFL)


def record_into(into: Recorder, agent: Agent, seconds: float | None) -> None:
    """Tick until a signal, the time or the file ends it."""
    stop, orders = threading.Event(), told_to_stop()
    end = float("inf") if seconds is None else time.monotonic() + seconds
    is_watched = sys.stderr.isatty()

    def is_over() -> bool:
        if is_watched:
            told = reports.recorded(into.ticks, into.targets, into.size_bytes)
            click.echo(f"\r{told} ", err=True, nl=False)
        is_late = time.monotonic() >= end and into.ticks > 0
        return is_late or into.stopped_by is not None

    ticks = threading.Thread(target=agent.run, args=(stop,), name="ticks", daemon=True)
    ticks.start()
    await_order(orders, is_over)
    hurry()
    stop.set()
    ticks.join(LAST_TICK_SECONDS)
    agent.close()
    if is_watched:
        click.echo(err=True)
