"""The config: what it means, and every sentence about what is wrong with one."""

import ast
import dataclasses
import inspect
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from burnmeter import config
from burnmeter.config import Config, as_dict, load, parse
from burnmeter.config_alertmanagers import Alertmanager
from burnmeter.config_facts import StatedModel
from burnmeter.config_owners import OwnerRule
from burnmeter.config_prices import LabelPrice, Owned, TokenPrices
from burnmeter.config_probes import Probe
from burnmeter.errors import ConfigError, Problem
from burnmeter.model import Objective, Target

FOLDER = Path(__file__).parent / "fixtures" / "config"
REFERENCE = Path(config.__file__).parents[1] / "CONFIG.md"
# Shaped like the engines' own defaults; fixed here, so that no dialect changes these texts.
BOUNDS = {
    "vllm": {
        "ttft": (0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 80.0),
        "itl": (0.01, 0.025, 0.05, 0.1, 80.0),
        "tpot": (0.01, 0.1, 80.0),
        "queue": (0.3, 1.0, 1920.0),
    },
    "sglang": {
        "ttft": (0.1, 0.2, 0.4, 0.6, 1.0, 10.0, 100.0, 400.0),
        "itl": (0.002, 0.1, 8.0),
        "queue": (0.1, 1.0, 3000.0),
    },
    "llamacpp": {},
}
ROLES = {"vllm": {"prefill", "decode"}, "sglang": {"prefill", "decode"}, "llamacpp": {"router"}}
SECRET = "hunter2"


def parsed(text: str) -> Config:
    """The config of a text without errors."""
    found, problems = parse(text, "f", bounds=BOUNDS)
    assert found is not None, problems
    return found


def shown(path: Path) -> str:
    """What a user sees of one file's problems, one per line."""
    _, problems = parse(path.read_bytes(), path.name, bounds=BOUNDS, roles=ROLES)
    return "".join(f"{problem}\n" for problem in problems)


# --- what a config means -----------------------------------------------------------------------


def test_a_file_can_set_everything() -> None:
    found = load(FOLDER / "good-everything.yaml", bounds=BOUNDS)

    assert found.warnings == ()
    assert (found.node, found.interval_seconds, found.recent_seconds) == ("gpu-a01", 10, 120)
    assert (found.listen_host, found.listen_port) == ("0.0.0.0", 9778)
    assert found.targets == (
        Target(
            name="chat-a",
            url="http://127.0.0.1:8000/metrics",
            origin="config",
            engine="vllm",
            model="llama-3.3-70b",
            token_file="/etc/burnmeter/chat-a.token",
        ),
        Target(
            name="[::1]:8443",
            url="https://[::1]:8443/custom",
            origin="config",
            token_environment="CHAT_B_TOKEN",
        ),
        Target(name="gpu-a02:80", url="http://gpu-a02/metrics", origin="config"),
    )
    assert found.discovery.processes is False
    assert found.models == {"/mnt/models": "llama-3.3-70b", "8": "llama-3.1-8b"}
    assert found.prices.gpu_dollars_per_hour == {"NVIDIA H100 80GB HBM3": 2.5, "L4": 0.0}
    assert found.prices.default_gpu_dollars_per_hour == 2.0
    assert found.prices.by_node_label == (
        LabelPrice(label="lifecycle", value="spot", gpu_dollars_per_hour=1.1),
    )
    assert found.prices.owned["A100"].overhead_dollars_per_hour == 0.2
    assert found.prices.tokens["llama-3.3-70b"].cached_prompt_dollars_per_million_tokens == 0.3
    assert found.owners == (
        OwnerRule("llama-3.3-70b", pod="serving/llama-*"),
        OwnerRule("llama-3.1-8b", command="ray::.*Worker"),
    )
    assert found.model_facts["llama-3.3-70b"] == StatedModel(
        config_file="/mnt/models/config.json", kv_format="fp8"
    )
    assert found.model_facts["llama-3.1-8b"].parameters == 8.03e9
    assert found.model_facts["qwen3-8b"] == StatedModel(kv_format="int8")
    assert found.gpus == config.Gpus(
        enabled=False,
        timeout_seconds=1.5,
        processes_every=12,
        samples_per_second=2.0,
        nvml_time_ratio=0.05,
    )
    assert found.limits == config.Limits(
        body_bytes=1_000_000,
        scrape_timeout_seconds=9.5,
        series_per_target=5000,
        targets=5,
        models=5,
        clients=8,
        shares=50,
    )


def test_objectives_come_in_base_units() -> None:
    found = load(FOLDER / "good-everything.yaml", bounds=BOUNDS)

    assert found.objectives == (
        Objective(
            name="chat-ttft",
            indicator="ttft",
            objective_ratio=0.999,
            threshold_seconds=0.5,
            period_seconds=7 * 86400.0,
            match=(("model", "llama-3.3-70b"),),
        ),
        Objective(name="up", indicator="availability", objective_ratio=0.995, is_paging=False),
        Objective(
            name="quick",
            indicator="throughput",
            objective_ratio=0.95,
            threshold_tokens_per_second=20.0,
        ),
        Objective(
            name="cheap",
            indicator="cost",
            objective_ratio=0.9,
            threshold_dollars_per_million_tokens=0.6,
            is_paging=False,
        ),
        Objective(
            name="frugal",
            indicator="energy",
            objective_ratio=0.9,
            threshold_joules_per_token=1.5,
            is_paging=False,
        ),
    )


def test_an_empty_file_means_all_defaults() -> None:
    found = load(FOLDER / "good-empty.yaml", bounds=BOUNDS)

    assert found == Config()
    assert found.node == socket.gethostname()
    assert [objective.name for objective in found.objectives] == [
        "ttft",
        "tpot",
        "errors",
        "availability",
    ]


def test_an_empty_list_of_objectives_means_none() -> None:
    assert load(FOLDER / "good-no-objectives.yaml", bounds=BOUNDS).objectives == ()


def test_the_host_of_an_ipv6_listener_has_no_brackets() -> None:
    found = parsed('listen: "[::1]:0"')

    assert (found.listen_host, found.listen_port) == ("::1", 0)


def test_a_scheme_in_capitals_and_a_query_are_kept_usable() -> None:
    found = parsed("targets: [{url: 'HTTP://chat:8000?name=x'}]")

    assert found.targets[0].url == "http://chat:8000/metrics?name=x"


def test_a_target_may_say_what_its_page_cannot() -> None:
    keys = "role: decode, least_interval_seconds: 30, is_only_reader: true"
    told, silent = parsed(f"targets: [{{url: 'http://a', {keys}}}, {{url: 'http://b'}}]").targets

    assert (told.role, told.least_interval_seconds, told.is_only_reader) == ("decode", 30.0, True)
    assert (silent.role, silent.least_interval_seconds, silent.is_only_reader) == (
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("role: decoder", "`decoder` is not a role; did you mean `decode`? known: decode, prefill"),
        ("least_interval_seconds: 0.5", "0.5 is below 1, the least allowed"),
        (
            "least_interval_seconds: 60000",
            "60000 is above 3600, the most allowed. Milliseconds? Write 60",
        ),
        ("is_only_reader: 1", "`1` is not true or false; write one of them, without quotes"),
    ],
)
def test_what_a_target_says_of_itself_must_make_sense(key: str, says: str) -> None:
    found, (problem,) = parse(f"targets: [{{url: 'http://a', {key}}}]", "f", bounds=BOUNDS)

    assert found is None
    assert problem.text == f"targets[0].{key.partition(':')[0]}: {says}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("good-*.yaml")), ids=lambda path: path.stem)
def test_the_effective_config_written_out_is_the_same_config(path: Path) -> None:
    found = load(path, bounds=BOUNDS)
    written = json.dumps(as_dict(found))

    assert parsed(written) == found


def test_the_effective_config_has_every_key_that_is_set() -> None:
    found = as_dict(load(FOLDER / "good-everything.yaml", bounds=BOUNDS))

    assert found == yaml.safe_load((FOLDER / "good-everything.yaml").read_text()) | {
        "targets": found["targets"],
        "probes": found["probes"],
        "slos": found["slos"],
        "limits": found["limits"],
    }


def test_what_power_costs_may_be_in_the_file_of_prices() -> None:
    """Whether it is, only who reads that file can tell."""
    owned = "owned: {H100: {capital_dollars: 1, lifetime_years: 1}}"

    assert parsed(f"prices: {{{owned}, file: /p}}").warnings == ()
    assert len(parsed(f"prices: {{{owned}}}").warnings) == 1


# --- what is wrong with one --------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bad-*.yaml")), ids=lambda path: path.stem)
def test_a_bad_config_is_told_in_these_words(path: Path, accept: bool) -> None:
    expected = path.with_suffix(".txt")
    if accept:
        expected.write_text(shown(path), encoding="utf-8")

    assert shown(path) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bad-*.yaml")), ids=lambda path: path.stem)
def test_errors_stop_and_warnings_do_not(path: Path) -> None:
    found, problems = parse(path.read_bytes(), path.name, bounds=BOUNDS, roles=ROLES)

    has_errors = any(not problem.is_warning for problem in problems)
    assert has_errors is not path.stem.startswith("bad-warn-")
    assert (found is None) is has_errors
    if found is not None:
        assert found.warnings == problems


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_message_and_no_print_shows_a_secret(path: Path) -> None:
    found, _ = parse(path.read_bytes(), path.name, bounds=BOUNDS, roles=ROLES)

    assert SECRET not in shown(path)
    assert SECRET not in repr(found)


@pytest.mark.parametrize("query", ["keyspace=a", "design=b", "monkey=c", "a=key", "format=text"])
def test_a_harmless_query_is_kept(query: str) -> None:
    found = parsed(f"targets: [{{url: 'http://a/metrics?{query}'}}]")

    assert found.targets[0].url == f"http://a/metrics?{query}"


def test_a_token_is_never_read_only_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv("CHAT_TOKEN", SECRET)
    found = parsed(
        f"targets: [{{url: 'http://a', token_file: {tmp_path}/token}},"
        " {url: 'http://b', token_environment: CHAT_TOKEN}]"
    )

    assert SECRET not in f"{found!r}{as_dict(found)}"


def test_load_raises_all_problems_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigError) as raised:
        load(FOLDER / "bad-slos.yaml", bounds=BOUNDS)

    places = [(problem.line, problem.column) for problem in raised.value.problems]
    assert len(places) > 10
    assert places == sorted(places)


def test_a_file_that_is_not_there_is_a_problem_of_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"

    with pytest.raises(ConfigError) as raised:
        load(path, bounds=BOUNDS)

    assert str(raised.value) == f"{path}:1:1: cannot be read: No such file or directory"


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, bounds=BOUNDS)

    assert str(raised.value) == f"{tmp_path}:1:1: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told_in_the_systems_words(tmp_path: Path) -> None:
    path = tmp_path / "closed.yaml"
    path.touch(mode=0o000)

    with pytest.raises(ConfigError) as raised:
        load(path, bounds=BOUNDS)

    assert str(raised.value) == f"{path}:1:1: cannot be read: Permission denied"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError) as raised:
        load(Path("/dev/zero"), bounds=BOUNDS)

    assert "the file has more than 262144 bytes, the most that are read" in str(raised.value)


# --- any text ----------------------------------------------------------------------------------

WORDS = st.one_of(
    st.sampled_from([*(field.name for field in dataclasses.fields(Config)), "slos", "<<", "url"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["ttft", "http://a:1", "http://[", "1h", "x@y", "300ms", ":9778"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(WORDS, st.sampled_from([*config.TARGET_KEYS, *config.LIMITS])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
OBJECTIVES = st.fixed_dictionaries(
    {"name": st.sampled_from("ab"), "indicator": st.sampled_from(["ttft", "errors", "cost"])},
    optional={
        "threshold_seconds": st.one_of(st.floats(), st.integers(), st.text(max_size=5)),
        "threshold_dollars_per_million_tokens": st.one_of(st.floats(), st.floats(0, 1e-3)),
        "objective_percent": st.one_of(st.floats(), st.integers(0, 101)),
        "window_days": st.floats(),
        "match": st.dictionaries(st.just("model"), st.text(max_size=3)),
    },
)


def assert_places_lie_in(text: str, problems: tuple[Problem, ...]) -> None:
    for sign in ("\r\n", "\r", "\x85", "\u2028", "\u2029"):
        text = text.replace(sign, "\n")
    lines = text.split("\n")
    for problem in problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert str(problem).isprintable()


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_bytes_give_problems_and_never_an_exception(source: str | bytes) -> None:
    _, problems = parse(source, "f", bounds=BOUNDS)

    text = source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
    assert_places_lie_in(text, problems)


@given(
    st.one_of(
        VALUES,
        st.dictionaries(WORDS, VALUES, max_size=4),
        st.fixed_dictionaries({"slos": st.lists(OBJECTIVES, max_size=3)}),
    )
)
def test_any_values_give_problems_and_never_an_exception(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    found, problems = parse(text, "f", bounds=BOUNDS)

    assert_places_lie_in(text, problems)
    assert found is not None or problems


# --- the reference -----------------------------------------------------------------------------


def rows() -> dict[str, str]:
    """Key -> default, from the tables of the reference."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in REFERENCE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1].strip("`") for row in cells}


def keys_with_defaults() -> dict[str, str]:
    """Key -> default, from the dataclasses. A dash stands for none."""
    found: dict[str, str] = {}
    for name, value in as_dict(Config()).items():
        if isinstance(value, dict) and name not in ("models", "node_labels", "model_facts"):
            defaults = dataclasses.asdict(getattr(Config(), name))
            found |= {f"{name}.{key}": json.dumps(inner) for key, inner in defaults.items()}
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value)
    return {key: "-" if default == "null" else default for key, default in found.items()}


def test_the_reference_has_every_key_with_its_default() -> None:
    own_words = {
        "node": "host name",
        "slos": "see below",
        "slo_files": "[]",
        "prices.power_usage_effectiveness_ratio": "1",
    }
    expected = {key: default.removesuffix(".0") for key, default in keys_with_defaults().items()}
    stated = rows()
    of_lists = {key for key in stated if "[]" in key or ".*" in key}
    slos = as_dict(load(FOLDER / "good-everything.yaml", bounds=BOUNDS))["slos"]
    slo = {key for one in slos for key in one}

    assert {key: stated[key] for key in stated.keys() - of_lists} == expected | own_words
    kinds = {
        "targets[]": config.TARGET_KEYS,
        "slos[]": slo,
        "owners[]": OwnerRule._fields,
        **{
            where: [field.name for field in dataclasses.fields(kind)]
            for where, kind in (
                ("probes[]", Probe),
                ("prices.by_node_label[]", LabelPrice),
                ("prices.owned.*", Owned),
                ("prices.tokens.*", TokenPrices),
                ("model_facts.*", StatedModel),
                ("alertmanagers[]", Alertmanager),
            )
        },
    }
    assert of_lists == {f"{where}.{key}" for where, keys in kinds.items() for key in keys}


def test_the_example_in_the_reference_has_no_problem_and_every_key() -> None:
    text = REFERENCE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    found = parsed(text)
    example = yaml.safe_load(text)

    assert found.warnings == ()
    assert example.keys() == as_dict(Config()).keys()
    for section in ("discovery", "prices", "gpus", "limits"):
        fields = dataclasses.fields(getattr(config, section.capitalize()))
        assert example[section].keys() == {field.name for field in fields}


@pytest.mark.parametrize(
    "kind",
    [
        *(Config, config.Discovery, config.Gpus, config.Limits, Probe, OwnerRule, StatedModel),
        *(config.Prices, LabelPrice, Owned, TokenPrices, Alertmanager),
    ],
)
def test_each_key_is_explained_in_the_code_and_in_the_same_words_in_the_reference(
    kind: type,
) -> None:
    reference = REFERENCE.read_text(encoding="utf-8")
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)

    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and ast.unparse(field.target) != "warnings":
            assert isinstance(after, ast.Expr), f"{ast.unparse(field.target)} has no docstring"
            assert ast.literal_eval(after.value) in reference
