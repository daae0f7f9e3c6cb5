"""`python -m burnmeter.simulate`: plays a node with GPUs and engines until its stdin ends.

It prints one JSON line with its ports when all can be read, and nothing else. Whoever starts it
holds its stdin: when that closes, however the parent died, this process ends too. It is no part
of the daemon, which never simulates.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from threading import Lock

import click

from burnmeter.errors import BurnmeterError
from burnmeter.simulate.fleet import FLEET
from burnmeter.simulate.serve import Port, control_answers, engine_answers
from burnmeter.simulate.story import DEFAULT, load
from burnmeter.simulate.world import TICK_SECONDS, World


@click.command()
@click.option("--seed", default=1, show_default=True, help="Same seed, same node.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.01, max=1000.0),
    help="Simulated seconds per second.",
)
@click.option(
    "--story",
    "story_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with other scenes than the usual ones.",
)
def main(seed: int, speed: float, story_path: Path | None) -> None:
    """Play a node with GPUs and vLLM engines until standard input ends."""
    try:
        story = DEFAULT if story_path is None else load(story_path)
    except BurnmeterError as error:
        raise click.UsageError(str(error)) from None
    ports = {spec.name: Port() for spec in FLEET}
    control = Port()
    started_timestamp_seconds = time.time()
    numbers = {name: port.number for name, port in ports.items()}
    world = World(
        seed,
        story,
        ports=numbers,
        wall=lambda seconds: started_timestamp_seconds + seconds / speed,
    )
    lock = Lock()
    control.start(control_answers(world, lock))
    for name, port in ports.items():
        port.start(engine_answers(world, name, lock))
    click.echo(json.dumps({"control": control.number, "engines": numbers}))
    _play(world, lock, ports, speed)


def _play(world: World, lock: Lock, ports: dict[str, Port], speed: float) -> None:
    if not sys.stdin.isatty():
        # What ends the agent's terminal, or a ^C on it, reaches us too; the agent ends first.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    start = time.monotonic()
    while not _stdin_ended(TICK_SECONDS):
        with lock:
            world.advance_to((time.monotonic() - start) * speed)
        for name, port in ports.items():
            _follow(world, name, port, lock)


def _follow(world: World, name: str, port: Port, lock: Lock) -> None:
    """Open or close an engine's port as its life demands."""
    is_listening = world.services[name].is_listening
    if port.is_open and not is_listening:
        port.close()
    elif is_listening and not port.is_open:
        try:
            port.start(engine_answers(world, name, lock))
        except OSError:
            return  # somebody took the port meanwhile; the next tick tries again


def _stdin_ended(timeout_seconds: float) -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], timeout_seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


if __name__ == "__main__":
    main()
