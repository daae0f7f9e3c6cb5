"""What `--scrub` leaves says nothing of whose it is, and comes to the same numbers."""

import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnmeter.config_prices import parse_file
from burnmeter.dialects import load_all
from burnmeter.errors import PageError
from burnmeter.model import (
    About,
    Failure,
    GpuInstance,
    GpuProcess,
    Launch,
    Objective,
    PageReading,
    Pod,
    Process,
    ServedModel,
    Target,
)
from burnmeter.model_facts import stated_facts
from burnmeter.model_facts.known import Known, Library, LibraryReading
from burnmeter.page import parse_series, read_page
from burnmeter.snapshot import Snapshot
from burnmeter.sources.price_file import PriceReading
from burnmeter.sources.scrub import Scrubber, known_labels
from tests.fakes_world import AFTER, BEFORE, Pages, Scripted, gpus, processes, settings, target
from tests.recordings import record, replay, ticks

PAGES = sorted((Path(__file__).parent / "fixtures/engines").glob("*/*.prom"))
STAND_IN = re.compile(r"label-\d+")


def scrubbed(text: str, **changes: Any) -> str:
    return Scrubber("gpu-node-7", **changes).page(text)


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_page_keeps_its_numbers_its_names_and_what_dialects_look_at(
    path: Path,
) -> None:
    known = known_labels()

    real, now = read_page(path.read_text()), read_page(scrubbed(path.read_text()))

    assert now.values == pytest.approx(real.values, nan_ok=True)
    assert now.types == real.types
    for raw, mine in zip(
        map(parse_series, real.series), map(parse_series, now.series), strict=True
    ):
        assert (mine.name, mine.labels.keys()) == (raw.name, raw.labels.keys())
        for label, value in raw.labels.items():
            is_shown = label in known and label != "hashed_api_key"
            assert mine.labels[label] == value or not is_shown or value.startswith("/")
            assert is_shown or value in ("", "None") or STAND_IN.fullmatch(mine.labels[label])
    assert len(set(now.series)) == len(set(real.series)), "series stay apart"


def test_users_keys_are_hidden_although_a_rule_asks_whether_there_was_one() -> None:
    line = 'litellm_x{hashed_api_key="%s",status_code="None"} 1'

    assert scrubbed(line % "88dc28d0f030") == line % "label-1"
    assert scrubbed(line % "None") == line % "None"
    assert scrubbed('x{gen_ai_token_type="input"} 1') == 'x{gen_ai_token_type="input"} 1'


def test_labels_that_a_rule_matches_keeps_or_names_a_model_by_are_known() -> None:
    known = known_labels()

    assert known >= {"le", "finished_reason", "handler", "status", "model_name", "model"}
    for dialect in load_all().values():
        for measure in dialect.measures.values():
            for rule in measure.rules:
                assert known >= {*rule.match, *rule.keep}
    assert not known & {"instance", "pod", "namespace", "hostname", "user", "tenant"}


def test_a_stand_in_is_the_same_on_the_next_page_and_another_for_another_value() -> None:
    scrubber = Scrubber("node")

    one = scrubber.page('a{pod="x"} 1\na{pod="y"} 2')
    other = scrubber.page('a{pod="y"} 3\na{pod="z"} 4')

    assert one == 'a{pod="label-1"} 1\na{pod="label-2"} 2'
    assert other == 'a{pod="label-2"} 3\na{pod="label-3"} 4'


def test_comments_times_and_exemplars_say_nothing() -> None:
    text = (
        "# made on gpu-node-7 by alice\n"
        "# HELP secret_family What alice wanted to know.\n"
        "# TYPE secret_family counter\n"
        'secret_family{user="al\\"ice"} 1 1700000000 # {trace_id="abc"} 1\n'
        "# EOF\n"
    )

    assert scrubbed(text) == (
        "#\n"
        "# HELP secret_family\n"
        "# TYPE secret_family counter\n"
        'secret_family{user="label-1"} 1\n'
        "# EOF\n"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<html>\n<title>gpu-node-7</title>\n", "html"),
        ("a 1\nhello from gpu-node-7\nb 2\n", "not_metrics"),
        ("a 1\nb{pod=", "truncated"),
    ],
)
def test_a_page_that_cannot_be_read_stays_so_and_says_nothing(text: str, kind: str) -> None:
    now = scrubbed(text)

    assert "node" not in now
    assert "pod" not in now
    for page in (text, now):
        with pytest.raises(PageError) as refused:
            read_page(page)
        assert refused.value.kind == kind


def test_names_of_models_go_when_asked_and_a_folder_always() -> None:
    line = 'vllm:num_requests_running{{model_name="{}"}} 1'

    assert scrubbed(line.format("acme/chat")) == line.format("acme/chat")
    assert scrubbed(line.format("acme/chat"), models=True) == line.format("model-1")
    assert scrubbed(line.format("/data/alice/chat")) == line.format("/path-1")


# --- ticks ---------------------------------------------------------------------------------------

PRICES = b"""
gpu_dollars_per_hour: {H100: 2.5}
tokens: {acme/llm: {generated_dollars_per_million_tokens: 1}}
"""
SECRETS = ("alice", "10.1.2.3", "gpu-node-7", "acme.example", "Qwen", "tiny", "our-chat", "GPU-0")


def story(path: Path, **changes: Any) -> list[Snapshot]:
    """An engine elsewhere that answers, then is refused in words that name it."""
    refused = Failure("refused", "nothing listens on 10.1.2.3:8000 (`our-chat`, gpu-node-7)")
    pages = Pages({"our-chat": BEFORE})
    known = replace(
        target("our-chat", served_model="Qwen/Qwen3-8B"), url="http://eu.acme.example:8000/alice/m"
    )
    config = settings(
        node="gpu-node-7",
        models={"tiny": "Qwen"},
        objectives=(
            Objective(
                name="errors",
                indicator="errors",
                objective_ratio=0.9,
                match=(("model", "Qwen"),),
            ),
        ),
    )
    steps = [
        lambda: None,
        lambda: pages.texts.update({"our-chat": AFTER}),
        lambda: pages.texts.update({"our-chat": refused}),
    ]
    return record(path, steps, config, pages=pages, find_targets=lambda _: (known,), **changes)


def counted(snapshot: Snapshot) -> list[tuple[str, float]]:
    return sorted((key.measure, value) for key, value in snapshot.counters.items())


def states(snapshots: Iterable[Snapshot]) -> list[Any]:
    return [
        ([model.state for model in one.models], [burn.state for burn in one.burns])
        for one in snapshots
    ]


@pytest.mark.parametrize("with_models", [False, True])
def test_a_scrubbed_recording_comes_to_the_same_numbers(with_models: bool, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    live = story(path, is_scrubbed=True, with_models=with_models)

    again = replay(path)

    assert list(map(counted, again)) == list(map(counted, live))
    assert states(again) == states(live)
    assert len(live[1].burns) == 1
    assert counted(live[1])


def test_a_scrubbed_recording_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    story(path, is_scrubbed=True, with_models=True)

    text = gzip.decompress(path.read_bytes()).decode()

    assert [secret for secret in SECRETS if secret in text] == []
    assert '"url":"http://host-2:8000/path-1"' in text
    assert "nothing listens on host-3:8000 (`target-1`, host-1)" in text


@pytest.mark.parametrize("with_models", [False, True])
def test_one_model_stays_one_wherever_it_is_named(with_models: bool, tmp_path: Path) -> None:
    folder = "/data/alice/chat"
    page = f'vllm:num_requests_running{{model_name="{folder}"}} 1\n'
    said = About(version="1", models=(ServedModel(folder, "/data/alice/root", None),))

    class Says(Pages):
        """Pages of an engine that tells which models it serves."""

        def _reading(self, name: str) -> PageReading:
            return super()._reading(name)._replace(about=said)

    live = record(
        tmp_path / "r.jsonl.gz",
        [lambda: None, lambda: None],
        settings(models={folder: folder}),
        pages=Says({"chat": page}),
        find_targets=lambda _: (target(served_model=folder),),
        is_scrubbed=True,
        with_models=with_models,
    )

    again = replay(tmp_path / "r.jsonl.gz")

    assert [view.model for view in live[-1].models] == [folder]
    (view,) = again[-1].models
    assert view.model == ("model-1" if with_models else "/path-1")
    assert again[-1].targets[0].version == "1"
    assert b"alice" not in gzip.decompress((tmp_path / "r.jsonl.gz").read_bytes())


def test_without_scrub_names_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    story(path)

    text = gzip.decompress(path.read_bytes()).decode()

    assert [secret for secret in SECRETS if secret not in text] == []


def test_what_is_known_of_models_keeps_its_numbers_and_not_where_it_is_from(
    tmp_path: Path,
) -> None:
    facts = stated_facts(parameters=8e9, kv_bytes_per_token=1e5)
    found = Library(
        by_target={"chat": Known(facts, "/data/alice/chat/config.json")},
        by_model={"acme/secret": Known(None, "/data/alice/chat/config.json: no such file")},
    )

    class Shelf(Scripted[LibraryReading]):
        def want(self, targets: Iterable[Target], processes: Mapping[int, Process]) -> None:
            """It knows already."""

    path = tmp_path / "r.jsonl.gz"
    shelf = Shelf(lambda: LibraryReading(1.0, 0.0, found, None))
    record(path, [lambda: None], models=shelf, is_scrubbed=True, with_models=True)

    (told,) = [tick.models for tick in ticks(path) if tick.models is not None]
    assert told.library == Library(
        by_target={"target-1": Known(facts, "config.json")},
        by_model={"model-2": Known(None, "not found")},
    )
    assert b"alice" not in gzip.decompress(path.read_bytes())


def test_a_file_of_prices_keeps_prices_and_not_its_path_or_its_models(tmp_path: Path) -> None:
    said = parse_file(PRICES, "/data/alice/prices.yaml")[0]
    failure = Failure("invalid", "/data/alice/prices.yaml:3:1: unknown key `a`")
    reading = PriceReading(1.0, 0.0, said, failure)
    path = tmp_path / "r.jsonl.gz"

    record(
        path, [lambda: None], prices=Scripted(lambda: reading), is_scrubbed=True, with_models=True
    )

    (told,) = [tick.prices for tick in ticks(path)]
    assert told is not None
    assert told.prices is not None
    assert told.prices.gpu_dollars_per_hour == {"H100": 2.5}
    assert list(told.prices.tokens) == ["model-2"]
    assert told.failure == Failure("invalid", "/path-2:3:1: unknown key `a`")
    assert b"acme" not in gzip.decompress(path.read_bytes())


def test_whose_gpus_are_stays_and_their_names_go(tmp_path: Path) -> None:
    """Containers, pods and slices keep their identity; launches their model."""
    process = Process(
        pid=7,
        parent_pid=1,
        started_timestamp_seconds=1.0,
        command=("vllm",),
        title="vllm",
        container="c0ffee",
        pod_uid="uid-of-acme",
    )
    table = replace(processes(process), pods={"uid-of-acme": Pod("acme-prod", "acme-llm-0")})
    instance = GpuInstance(uuid="MIG-acme", name="H100 MIG 1g.10gb", compute_ratio=1 / 7)
    held = GpuProcess(pid=7, instance="MIG-acme")
    board = replace(gpus().gpus[0], instances=(instance,), processes=(held,))
    path = tmp_path / "r.jsonl.gz"
    record(
        path,
        [lambda: None],
        gpus=Scripted(lambda: gpus(gpus=(board,))),
        processes=Scripted(lambda: table),
        find_launches=lambda _, __: (Launch(7, "acme/llm"),),
        is_scrubbed=True,
        with_models=True,
    )

    assert b"acme" not in gzip.decompress(path.read_bytes())
    (found,) = ticks(path)
    assert found.gpus is not None
    assert found.processes is not None
    (one,) = found.processes.processes.values()
    (read,) = found.gpus.gpus
    assert found.launches == (Launch(7, "model-2"),)
    assert one.pod_uid is not None
    assert found.processes.pods.keys() == {one.pod_uid}
    assert read.processes is not None
    assert read.instances is not None
    assert read.processes[0].instance == read.instances[0].uuid


def test_this_machines_loopback_stays_as_it_is() -> None:
    text = Scrubber("node").text("no answer from 127.0.0.1:8000, [::1]:8000 and [fe80::7]:8000")

    assert text == "no answer from 127.0.0.1:8000, [::1]:8000 and [host-2]:8000"


def test_the_words_of_a_checkup_are_scrubbed_like_a_failures() -> None:
    target_ = {"name": "chat", "url": "https://llm.corp.example/v1", "model": None}
    said = {"is_well": False, "is_answer": True, "text": "llm.corp.example:443 failed `chat`"}
    reading = {"target": "chat", "text": None, "failure": None, "checkup": said}
    tick = {"targets": [{**target_, "served_model": None}], "pages": {"chat": reading}}

    Scrubber("node", models=True).tick({**tick, "gpus": None, "processes": None})

    assert said["text"] == "host-2:443 failed `target-1`"
