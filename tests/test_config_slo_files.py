"""SLO documents beside a config: where they are found, and every sentence about what is wrong.

It covers the readers of the forms (config_sloth, config_openslo, config_queries) as well. The
documents in fixtures/slo_files are written like those that people have; the text beside each
holds the objectives that come of it and what `check` says.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from burnmeter import config, dialects
from burnmeter.config import Config, load, parse
from burnmeter.config_slo_files import MOST_FILES, Found
from burnmeter.errors import ConfigError, Problem
from burnmeter.model import Objective
from tests.test_config import BOUNDS, REFERENCE, assert_places_lie_in

FOLDER = Path(__file__).parent / "fixtures" / "slo_files"
SERIES = dialects.series_known()
CONFIG = """
models: {meta/llama: llama}
slos: [{name: chat, indicator: ttft, threshold_seconds: 1, objective_percent: 90}]
slo_files: [doc.yaml]
"""


def finder(files: dict[str, bytes]) -> Callable[[str], list[Found]]:
    """Finds files that are in no folder."""
    return lambda pattern: [Found(pattern, files[pattern])] if pattern in files else []


def read(text: str | bytes, config_text: str = CONFIG) -> tuple[Config | None, tuple[Problem, ...]]:
    """What a config makes of one document, `doc.yaml`."""
    source = text.encode() if isinstance(text, str) else text
    find = finder({"doc.yaml": source})
    return parse(config_text, "f", bounds=BOUNDS, series=SERIES, find=find)


def objective_shown(one: Objective) -> str:
    """An objective in one line."""
    threshold = "" if one.threshold_seconds is None else f" below {one.threshold_seconds:g} s"
    matched = "".join(f" of {key} {value}" for key, value in one.match)
    days = one.period_seconds / 86400
    pages = "" if one.is_paging else ", no page"
    promise = f"{one.objective_ratio:.10g} {one.indicator}{threshold}{matched} {days:g} d"
    return f"{one.name}: {promise}{pages}"


def shown(path: Path) -> str:
    """What comes of a document, and what is wrong with it; without what the config has itself."""
    find = finder({"doc.yaml": path.read_bytes()})
    found, problems = parse(CONFIG, "f", bounds=BOUNDS, series=SERIES, find=find)
    lines = [] if found is None else [objective_shown(o) for o in found.objectives[1:]]
    return "".join(f"{line}\n" for line in (*lines, *map(str, problems)))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_document_is_understood_or_refused_in_these_words(path: Path, accept: bool) -> None:
    expected = path.with_suffix(".txt")
    if accept:
        expected.write_text(shown(path), encoding="utf-8")

    assert shown(path) == expected.read_text(encoding="utf-8")


# --- files -------------------------------------------------------------------------------------


def folder(tmp_path: Path, **files: str) -> Path:
    """A config `main.yaml` and files beside it; `_` in a name stands for a folder."""
    for name, text in files.items():
        path = tmp_path / f"{name.replace('_', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "main.yaml"


def problems_of(path: Path) -> list[str]:
    """What `check` says of a config, without the folder that it is in."""
    _, problems = config.examined(path, bounds=BOUNDS, series=SERIES)
    return [str(problem).replace(f"{path.parent}/", "") for problem in problems]


def slo(name: str, more: str = "") -> str:
    return f"{{name: {name}, indicator: errors, objective_percent: 99{more}}}"


def test_files_add_to_the_objectives_of_the_config(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        main=f"slos: [{slo('own')}]\nslo_files: ['slos/*.yaml', last.yaml, slos/a.yaml]\n",
        slos_b=f"slos: [{slo('b')}]",
        slos_a=f"slos: [{slo('a', ', match: {model: x}')}]\n---\nslos: []\n",
        last=f"slos: [{slo('last')}]",
    )
    found = load(path, bounds=BOUNDS, series=SERIES)

    assert [one.name for one in found.objectives] == ["own", "a", "b", "last"]
    assert problems_of(path) == [
        "slos/a.yaml:1:75: warning: slos[0].match.model: no target and no line of `models` names"
        " `x`; right only if an engine calls it so"
    ]


def test_with_files_alone_no_objective_is_built_in(tmp_path: Path) -> None:
    path = folder(tmp_path, main="slo_files: [a.yaml]", a=f"slos: [{slo('a')}]")

    assert [one.name for one in load(path, bounds=BOUNDS).objectives] == ["a"]


def test_a_list_of_no_files_asks_for_nothing() -> None:
    found, problems = parse("slo_files: []", "f", bounds=BOUNDS)

    assert problems == ()
    assert found is not None
    assert found.objectives == ()


def test_a_pipe_is_told_and_holds_nobody(tmp_path: Path) -> None:
    path = folder(tmp_path, main="slo_files: [pipe]")
    os.mkfifo(tmp_path / "pipe")

    assert problems_of(path) == [
        "main.yaml:1:13: slo_files[0]: `pipe` cannot be read: it is a pipe; write a file",
    ]


def test_a_pattern_for_folders_of_any_depth_is_refused_as_it_would_find_one_depth_only(
    tmp_path: Path,
) -> None:
    path = folder(tmp_path, main="slo_files: ['**/*.yaml', 'a**.yaml']", a=f"slos: [{slo('a')}]")

    assert problems_of(path) == [
        "main.yaml:1:13: slo_files[0]: `**/*.yaml` has `**`, which would be read as `*`; name each"
        " folder by a pattern of its own",
    ]


def test_signs_of_a_pattern_in_the_name_of_the_configs_folder_mean_themselves(
    tmp_path: Path,
) -> None:
    beside = tmp_path / "[prod]*"
    beside.mkdir()
    path = folder(beside, main="slo_files: ['a*.yaml']", a=f"slos: [{slo('a')}]")

    assert [one.name for one in load(path, bounds=BOUNDS).objectives] == ["a"]


def test_what_leads_to_no_file_is_told_in_the_config(tmp_path: Path) -> None:
    path = folder(
        tmp_path, main="slo_files: [gone.yaml, 'no/*.yaml', slos, 5.5, [], '']", slos_x="slos: []"
    )

    assert problems_of(path) == [
        "main.yaml:1:13: slo_files[0]: `gone.yaml` cannot be read: No such file or directory",
        "main.yaml:1:24: slo_files[1]: no file is called like `no/*.yaml`; paths are relative to"
        " the folder of this file",
        "main.yaml:1:37: slo_files[2]: `slos` cannot be read: Is a directory",
        "main.yaml:1:43: slo_files[3]: `5.5` cannot be read: No such file or directory",
        "main.yaml:1:48: slo_files[4]: a list is no text; write a name",
        "main.yaml:1:52: slo_files[5]: `` is no name: empty, a space at an end, or a sign like a"
        " tab",
    ]


def test_a_text_alone_has_no_files_beside_it() -> None:
    _, (problem,) = parse("slo_files: [a.yaml]", "f", bounds=BOUNDS)

    assert str(problem) == (
        "f:1:13: slo_files[0]: no file is called like `a.yaml`; paths are relative to the folder"
        " of this file"
    )


def test_problems_are_in_their_own_files_those_of_the_config_first(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        main=f"slo_files: [z.yaml, a.yaml]\nslos: [{slo('x')}]\nnodes: 1\n",
        z="slos: [",
        a=f"slos:\n  - {slo('x')}\n  - {slo('y')}\n  - {slo('y')}\n",
    )

    assert problems_of(path) == [
        "main.yaml:3:1: unknown key `nodes`; did you mean `node`?",
        "a.yaml:2:12: slos[0].name: `x` is the name of another objective in main.yaml;"
        " choose another",
        "a.yaml:4:12: slos[2].name: `y` is the name of another objective above; choose another",
        "z.yaml:1:8: not valid YAML: what begins here is never closed, as by `]` or `}`",
    ]


def test_load_raises_the_problems_of_files_too(tmp_path: Path) -> None:
    path = folder(tmp_path, main="slo_files: [a.yaml]", a="slo: []")

    with pytest.raises(ConfigError) as raised:
        load(path, bounds=BOUNDS)

    assert str(raised.value) == (
        f"{tmp_path}/a.yaml:1:1: this is no SLO document: it has neither `slos`, nor apiVersion"
        " openslo/v1 or sloth.slok.dev/v1, nor version prometheus/v1"
    )


def test_an_empty_file_is_doubtful() -> None:
    assert [str(problem) for problem in read("# nothing\n")[1]] == [
        "doc.yaml:1:1: warning: there is no document in this file; remove it from slo_files"
    ]


def test_files_and_objectives_have_limits() -> None:
    many = {f"{i}.yaml": b"slos: []" for i in range(MOST_FILES + 1)}
    _, problems = parse(
        yaml.safe_dump({"slo_files": list(many)}), "f", bounds=BOUNDS, find=finder(many)
    )
    assert [problem.text for problem in problems] == [
        "slo_files[100]: more than 100 files, the most that are read"
    ]

    listed = "slos: [" + ", ".join(slo(f"a{i}") for i in range(100)) + "]"
    _, problems = read(listed)
    assert [str(problem) for problem in problems] == [
        "f:4:13: slo_files: with those of the files there are 101 objectives, more than 100, the"
        " most allowed"
    ]

    assert [problem.text for problem in read(b"#" * 300_000)[1]] == [
        "the file has more than 262144 bytes, the most that are read"
    ]


def test_without_the_parser_of_queries_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "promql_parser", None)
    document = (FOLDER / "sloth-latencies.yaml").read_bytes()

    _, problems = read(document)

    assert [str(problem) for problem in problems] == [
        "doc.yaml:10:22: slos[0].sli.events.error_query: the queries of this file cannot be read,"
        ' as promql-parser is not installed; pip install "burnmeter[promql]"'
    ]
    assert read(f"slos: [{slo('own')}]")[1] == ()


def test_an_indicator_may_be_in_another_file() -> None:
    whole = (FOLDER / "openslo-good.yaml").read_bytes()
    sli, _, rest = whole.partition(b"---\n")
    files = finder({"sli.yaml": sli, "slo.yaml": rest})
    text = "models: {meta/llama: llama}\nslo_files: [slo.yaml, sli.yaml]"

    found, _ = parse(text, "f", bounds=BOUNDS, series=SERIES, find=files)

    assert found is not None
    assert [one.name for one in found.objectives][:2] == [
        "chat-duration-paying-users",
        "chat-duration-2",
    ]


def test_no_message_shows_what_a_data_source_hides() -> None:
    found, problems = read((FOLDER / "openslo-good.yaml").read_bytes())

    assert "hunter2" not in f"{found!r}{problems!r}"


# --- any document ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    re.findall(
        r"\w+",
        """slos name objective sli events raw plugin error_query total_query error_ratio_query
        labels alerting version service apiVersion kind metadata spec indicator indicatorRef
        timeWindow duration isRolling calendar budgetingMethod objectives target targetPercent
        op value ratioMetric thresholdMetric counter good bad total rawType metricSource type
        query""",
    )
)
QUERIES = st.sampled_from(
    [
        'sum(rate(vllm:request_success_total{finished_reason=~"(a|b"}[5m]))',
        "sum(rate(vllm:request_success_total[{{.window}}]))",
        'sum(rate(vllm:time_to_first_token_seconds_bucket{le="0.5"}[5m]))',
        "sum(rate(vllm:time_to_first_token_seconds_count[5m]))",
        "burnmeter_target_up",
        "histogram_quantile(NaN, x_bucket)",
        *("a / b", "1 - (a / b)", "(" * 3000, "-" * 3000, "+".join("a" * 3000), "{__name__='x'}"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=12),
    QUERIES,
    WORDS,
    st.sampled_from(["openslo/v1", "prometheus/v1", "SLO", "SLI", "Occurrences", "Timeslices"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.text(max_size=3)), inner)
    ),
    max_leaves=15,
)
SLI = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"events": st.fixed_dictionaries({"error_query": QUERIES, "total_query": QUERIES})}
    ),
    st.fixed_dictionaries({"raw": st.fixed_dictionaries({"error_ratio_query": QUERIES})}),
)
SLOTH = st.fixed_dictionaries(
    {
        "version": st.just("prometheus/v1"),
        "service": st.one_of(st.text(max_size=3), st.just("a")),
        "slos": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("ab"), "objective": st.just(99), "sli": SLI},
                optional={"labels": VALUES, "alerting": VALUES},
            ),
            max_size=2,
        ),
    }
)
SOURCE = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {
            "metricSource": st.fixed_dictionaries(
                {"spec": st.fixed_dictionaries({"query": QUERIES})}, optional={"type": VALUES}
            )
        }
    ),
)
RATIO = st.dictionaries(st.sampled_from(["good", "bad", "total", "raw", "rawType"]), SOURCE)
OPENSLO = st.fixed_dictionaries(
    {
        "apiVersion": st.just("openslo/v1"),
        "kind": st.sampled_from(["SLO", "SLI", "DataSource", "x"]),
        "metadata": st.one_of(VALUES, st.just({"name": "a"})),
        "spec": st.one_of(
            VALUES,
            st.fixed_dictionaries(
                {
                    "indicator": st.one_of(
                        VALUES,
                        st.fixed_dictionaries(
                            {"spec": st.dictionaries(st.just("ratioMetric"), RATIO)}
                        ),
                    ),
                    "objectives": st.one_of(VALUES, st.just([{"target": 0.9}])),
                },
                optional={"timeWindow": VALUES, "budgetingMethod": VALUES, "indicatorRef": VALUES},
            ),
        ),
    }
)


@settings(deadline=None)  # the first one imports the parser
@given(st.lists(st.one_of(VALUES, SLOTH, OPENSLO), max_size=3))
def test_any_document_gives_problems_and_never_an_exception(documents: list[Any]) -> None:
    text = yaml.safe_dump_all(documents, allow_unicode=True)

    found, problems = read(text)

    assert_places_lie_in(text, problems)
    assert found is not None or problems


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_bytes_are_a_file(source: bytes | str) -> None:
    raw = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")

    found, problems = read(raw)

    assert_places_lie_in(raw.decode("utf-8-sig", "replace"), problems)
    assert found is not None or problems


# --- the reference -----------------------------------------------------------------------------


def test_the_examples_in_the_reference_mean_what_it_says(tmp_path: Path) -> None:
    section = REFERENCE.read_text(encoding="utf-8").partition("### SLO documents")[2]
    blocks = re.findall(r"```yaml\n(.*?)```", section.partition("\n### ")[0], re.DOTALL)
    assert yaml.safe_load(blocks[0])["slo_files"][0] == "slos/*.yaml"
    for number, block in enumerate(blocks[1:]):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
    (tmp_path / "main.yaml").write_text("slo_files: ['[0-9].yaml']", encoding="utf-8")

    found = load(tmp_path / "main.yaml", bounds=BOUNDS, series=SERIES)

    assert [objective_shown(one) for one in found.objectives] == [
        "chat-gaps: 0.99 itl below 0.1 s 30 d",
        "chat-first-token: 0.95 ttft below 0.5 s 30 d",
        "chat-errors: 0.995 errors of model llama-3.3-70b 28 d",
    ]
