"""A person's look waits for a driver that is slow to start, and for nothing else."""

import pytest

from burnmeter import looking
from burnmeter.config import Config
from burnmeter.looking import READS_TO_START
from burnmeter.model import Failure, GpuReading
from tests.fakes_world import Scripted, gpus, world


def slow() -> GpuReading:
    return gpus(0, failure=Failure("timeout", "the driver has not answered yet"))


def test_a_driver_that_is_slow_to_start_is_waited_for() -> None:
    source = Scripted(*(slow,) * READS_TO_START, gpus)

    found = looking._patient(source)

    assert found.failure is None
    assert len(found.gpus) == 1
    assert source.reads == READS_TO_START + 1


def test_a_driver_that_never_answers_is_given_up() -> None:
    source = Scripted(slow)

    assert looking._patient(source).failure == slow().failure
    assert source.reads == READS_TO_START + 1


@pytest.mark.parametrize("kind", ["no_library", "driver", "crashed", "no_permission"])
def test_what_fails_at_once_is_not_asked_again(kind: str) -> None:
    source = Scripted(lambda: gpus(0, failure=Failure(kind, "no")), gpus)

    assert looking._patient(source).failure == Failure(kind, "no")
    assert source.reads == 1


def test_a_driver_that_answers_is_asked_once() -> None:
    source = Scripted(gpus)

    assert looking._patient(source).failure is None
    assert source.reads == 1


def test_the_first_look_of_a_few_is_at_gpus_that_have_started() -> None:
    source = Scripted(slow, slow, gpus)
    made = world(gpus=source, find_targets=lambda _: ())

    snapshot = looking.looks(Config(), made, 0.1, apart_seconds=0.1)

    assert [view.gpu.index for view in snapshot.gpus] == [0]
