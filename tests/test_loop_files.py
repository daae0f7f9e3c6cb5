"""The real Agent over files that may change, hang or break: prices, and what models are."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from burnmeter.config_prices import Prices
from burnmeter.loop import FILES_WAIT_SECONDS
from burnmeter.model import Process, Target
from burnmeter.model_facts import stated_facts
from burnmeter.model_facts.known import Known, Library, LibraryReading
from burnmeter.sources.price_file import PriceFile, PriceReading
from burnmeter.sources.recording import RawTick
from tests.fakes_world import HAIR_SECONDS, Hanging, Scripted, agent, settings, value

PRICE = "burnmeter_gpu_price_dollars_per_hour"
SOURCE = "burnmeter_source_up"
FACTS = stated_facts(parameters=8e9, kv_bytes_per_token=1e5)
LLAMA = Library(by_model={"llama": Known(FACTS, "a test")})
NAME = "NVIDIA H100 80GB HBM3"


def priced(dollars: float) -> PriceReading:
    return PriceReading(0.0, 0.0, Prices(gpu_dollars_per_hour={"H100": dollars}), None)


class Shelf(Scripted[LibraryReading]):
    """A script of what is known of the models; it keeps what was wanted."""

    wanted: tuple[str, ...] = ()

    def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
        self.wanted = tuple(target.name for target in targets)


def learned(library: Library) -> LibraryReading:
    return LibraryReading(0.0, 0.0, library, None)


# --- prices --------------------------------------------------------------------------------------


def test_the_file_of_prices_comes_before_the_config_and_changes_while_we_run() -> None:
    config = settings(prices=Prices(gpu_dollars_per_hour={"H100": 9.0}))
    ticking = agent(config, prices=Scripted(lambda: priced(2.0), lambda: priced(3.0)))

    ticking.tick()
    before = value(ticking, PRICE)
    ticking.tick()

    assert (before, value(ticking, PRICE)) == (2.0, 3.0)


def test_a_file_that_breaks_keeps_its_prices_and_its_source_is_down(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("gpu_dollars_per_hour: {H100: 2.0}\n")
    ticking = agent(prices=PriceFile(str(file)))
    ticking.tick()

    file.write_text("gpu_dollars_per_hour: {H100: much}\n")
    ticking.tick()

    assert value(ticking, PRICE) == 2.0
    assert value(ticking, SOURCE, source="prices", kind="invalid") == 0.0


def test_a_file_on_a_disk_that_hangs_delays_no_tick_and_keeps_its_prices() -> None:
    hanging = Hanging(lambda: priced(3.0))
    ticking = agent(prices=Scripted(lambda: priced(2.0), hanging))
    ticking.tick()

    for _ in range(2):
        began = time.monotonic()
        ticking.tick()
        assert time.monotonic() - began <= FILES_WAIT_SECONDS + HAIR_SECONDS
        assert value(ticking, PRICE) == 2.0
        assert value(ticking, SOURCE, source="prices", kind="timeout") == 0.0

    hanging.let_go.set()


def test_the_price_of_a_gpu_that_was_lost_stays_known() -> None:
    """Its last reading had its name; the price file changes meanwhile."""
    ticking = agent(prices=Scripted(lambda: priced(2.0), lambda: priced(3.0)))
    snapshots = [ticking.tick(), ticking.tick()]

    assert [view.dollars_per_hour for shown in snapshots for view in shown.gpus] == [2.0, 3.0]
    assert snapshots[-1].gpus[0].price_source == "the file of prices, by the GPU's name"


# --- what models are -----------------------------------------------------------------------------


def test_models_are_looked_for_with_the_processes_and_their_targets_named() -> None:
    shelf = Shelf(lambda: learned(LLAMA))
    ticking = agent(models=shelf)

    for _ in range(4):
        ticking.tick()

    assert shelf.wanted == ("chat",)
    assert shelf.reads == 2  # at each second tick, as processes are
    assert value(ticking, SOURCE, source="models", kind="") == 1.0


def test_what_is_known_stays_while_a_disk_hangs() -> None:
    hanging = Hanging(lambda: learned(Library()))
    ticking = agent(models=Shelf(lambda: learned(LLAMA), hanging))
    ticking.tick()
    ticking.tick()

    began = time.monotonic()
    ticking.tick()

    assert time.monotonic() - began <= FILES_WAIT_SECONDS + HAIR_SECONDS
    assert ticking._state.library == LLAMA
    hanging.let_go.set()


def test_a_recording_has_what_is_known_once_until_it_changes() -> None:
    seen: list[RawTick] = []
    other = Library(by_model={"llama": Known(None, "its config.json was not found")})
    shelf = Shelf(lambda: learned(LLAMA), lambda: learned(LLAMA), lambda: learned(other))
    ticking = agent(models=shelf, witness=seen.append)

    for _ in range(6):
        ticking.tick()

    told = [tick.models.library for tick in seen if tick.models is not None]
    assert told == [LLAMA, None, other]
