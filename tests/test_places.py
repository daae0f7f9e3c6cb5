"""From a model to its GPUs to its events, and back: every link of the page leads somewhere."""

import re
from dataclasses import replace

import pytest

from burnmeter.export.places import EVENTS_SHOWN, GpuWay, Way, places
from burnmeter.model import Failure
from tests import snapshots
from tests.snapshot_parts import LLAMA, MISTRAL, QWEN, event, gpu, held, model, target
from tests.web_reader import Reader, page, tile, words


@pytest.mark.parametrize("name", snapshots.ALL)
def test_every_link_into_the_page_leads_to_one_place_of_it(name: str) -> None:
    read = Reader(page(snapshots.ALL[name]()))

    ids = list(read.values("id"))
    assert len(ids) == len(set(ids))
    ways = [way.removeprefix("#") for way in read.values("href") if way.startswith("#")]
    assert set(ways) <= set(ids)


def test_a_model_leads_to_the_gpus_that_it_has_and_says_what_each_does() -> None:
    busy = held(0, LLAMA), held(0, LLAMA, "idle")
    shared = held(1, LLAMA, "idle"), held(1, QWEN)
    silent = gpu(2, held(2, LLAMA), failure=Failure("gone", "lost"))

    found = places(snapshots.empty(gpus=(gpu(0, *busy), gpu(1, *shared), silent))).gpus_of

    assert found == {
        LLAMA: (
            GpuWay("0", "gpu-0", "busy"),
            GpuWay("1", "gpu-1", "idle"),
            GpuWay("2", "gpu-2", "failed"),
        ),
        QWEN: (GpuWay("1", "gpu-1", "busy"),),
    }


def test_nobodys_gpu_is_no_models() -> None:
    alone = gpu(0, held(0, "", "unattributed", "none"))

    assert places(snapshots.empty(gpus=(alone,))).gpus_of == {}


def test_an_event_leads_to_its_gpu_and_to_the_models_that_it_hits() -> None:
    lost = event(40, "gpu_lost", "gpu 1", "fallen off the bus", QWEN, "gone-model")
    seen = snapshots.empty(models=(model(), model(QWEN)), gpus=(gpu(1),), events=(lost,))

    (told,) = places(seen).events

    assert told.subject == Way("gpu 1", "gpu-0")
    assert told.models == (Way(QWEN, "model-1"), Way("gone-model", None))


def test_an_event_of_a_gpu_that_is_not_there_leads_nowhere() -> None:
    gone = event(40, "gpu_lost", "gpu 9", "fallen off the bus")

    found = places(snapshots.empty(gpus=(gpu(1),), events=(gone,)))

    assert found.events[0].subject == Way("gpu 9", None)
    assert found.of_gpu == {}


def test_events_of_a_model_are_those_about_it_and_those_that_hit_it_latest_first() -> None:
    seen = snapshots.empty(
        models=(model(), model(QWEN)),
        targets=(target(),),
        events=(
            event(50, "burning", LLAMA, "a", LLAMA),
            event(40, "xid", "gpu 1", "b", LLAMA, QWEN),
            event(30, "up", "vllm-8000", "c"),
        ),
    )

    found = places(seen)

    assert [one.event.text for one in found.of_model[LLAMA]] == ["b", "a"]
    assert [one.event.text for one in found.of_model[QWEN]] == ["b"]
    assert found.events[0].subject == Way("vllm-8000", "target-0")


def test_the_page_leads_from_a_model_to_its_gpus_to_their_events_and_back() -> None:
    text = page(snapshots.burning())

    card = text[text.index('id="model-1"') : text.index('id="gpus"')]
    assert 'href="#gpu-4"' in card
    told = tile(snapshots.burning(), 4)
    assert "2 events" in words(told)
    assert "XID 64, memory row not retired; it hits qwen2.5-coder-32b" in words(told)
    assert told.count('href="#model-1"') == 3
    events = text[text.index('id="events"') :]
    assert re.search(r'<b><a href="#gpu-4">gpu 4</a>\s*</b> XID 64', events)


def test_a_model_shows_its_latest_events_and_leads_to_the_rest() -> None:
    many = tuple(event(100 - age, "restart", LLAMA, f"no. {age}") for age in range(20))

    text = words(page(snapshots.empty(models=(model(),), events=many)))

    card = text[: text.index("No GPU was found")]
    assert "Events (20)" in card
    assert card.count("restart no. ") == EVENTS_SHOWN
    assert f"and {20 - EVENTS_SHOWN} before these, with all others" in card


def test_what_needs_somebody_leads_to_the_gpu_or_target_itself() -> None:
    text = page(snapshots.burning())

    attention = text[text.index('class="attention"') : text.index('class="node-facts"')]
    ways = re.findall(r'href="#([\w-]+)"', attention)
    assert {"gpu-3", "gpu-4", "gpu-5", "target-3", "model-0"} == set(ways)


# --- what a GPU did lately -----------------------------------------------------------------------


def test_a_gpu_draws_what_it_did_lately_and_says_between_what() -> None:
    told = tile(snapshots.good(), 0)

    labels = re.findall(r'role="img" aria-label="([^"]*)"', told)
    assert [label.partition(":")[0] for label in labels] == [
        "busy over 10 min",
        "power over 10 min",
    ]
    assert re.fullmatch(r"power over 10 min: \d+ W to \d+ W", labels[1])


def test_a_gpu_without_a_past_shows_bars() -> None:
    new = replace(gpu(0), history=gpu(0).history[-1:])

    told = tile(snapshots.empty(gpus=(new,)), 0)

    assert 'class="spark"' not in told
    assert told.count('class="bar ') == 3


def test_a_gpu_that_never_told_how_busy_it_is_draws_no_line_for_it() -> None:
    told = tile(snapshots.empty(gpus=(gpu(0, utilisation_ratio=None),)), 0)

    assert re.findall(r'aria-label="(\w+) over', told) == ["power"]
    assert "busy–not measured" in words(told)


def test_a_model_without_gpus_says_so() -> None:
    text = words(page(snapshots.empty(models=(model(MISTRAL),))))

    assert "none of this node is known to be its own" in text
