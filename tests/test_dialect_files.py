"""What a dialect file may say: every mistake names file, line and key, and README.md has every key.

The dialects themselves are held to real pages in test_dialects.py.
"""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from burnmeter import dialects
from burnmeter.dialects import Dialect, Hint, Measure, Role, Rule, parse
from burnmeter.errors import DialectError
from burnmeter.model import ProcessHint
from burnmeter.normalise import normalise
from burnmeter.page import read_page
from burnmeter.planning import plan
from tests import pages

FOLDER = Path(dialects.__file__).parent
README = (FOLDER / "README.md").read_text("utf-8")
EXAMPLE, OUTCOME = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
(PAGE,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
SHIPPED = sorted(FOLDER.glob("*.yaml"))
TTFT = "`measures.ttft_seconds"


def line_of(text):
    """The line of the example, with its changes, that holds `text`."""
    return next(n for n, line in enumerate(EXAMPLE.splitlines(), 1) if text in line)


def mistake(old, new):
    assert EXAMPLE.count(old) >= 1
    with pytest.raises(DialectError) as caught:
        parse(EXAMPLE.replace(old, new, 1), "tinyserve.yaml")
    return str(caught.value)


def test_the_worked_example_of_the_readme_does_what_it_says():
    example = parse(EXAMPLE)
    page = read_page(PAGE)
    found = plan(page, {example.engine: example})
    assert pages.summary(normalise(page, found)) == yaml.safe_load(OUTCOME)


@pytest.mark.parametrize("kind", [Dialect, Measure, Rule, Role, Hint, ProcessHint])
def test_the_readme_explains_every_field(kind):
    assert [f.name for f in fields(kind) if f"`{f.name}`" not in README] == []


NAMES = {
    *("match", "set", "not_available", "values", "role_patterns", "spell", "stages"),
    "worker_parents",
}
"""Under these keys stand an engine's own words."""


def test_the_readme_explains_every_key_that_a_dialect_uses():
    def keys(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                if key not in NAMES:
                    yield from keys(inner)
        for item in value if isinstance(value, list) else ():
            yield from keys(item)

    used = {key for path in SHIPPED for key in keys(yaml.safe_load(path.read_text("utf-8")))}
    measures = {name for dialect in dialects.load_all().values() for name in dialect.measures}
    assert {key for key in used - measures if f"`{key}`" not in README} == set()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_file_is_named_after_its_engine(path):
    bases = dialects.load_all()
    assert parse(path.read_text("utf-8"), path.name, bases).engine == path.stem


UNIT = "milliseconds\n    merge"
ROW = "names: [tinyserve_first_token_milliseconds]"


@pytest.mark.parametrize(
    ("old", "new", "place", "text"),
    [
        ("title: Tiny Serve\n", "", 1, "`title`: this key is missing"),
        ("title: Tiny Serve", "titel: Tiny Serve", 1, "`title`: this key is missing"),
        ("\nprogress:", "\nprogres:", "progress:", "`progres`: this key is not known"),
        ("prefixes: [", "prefixes: x #", "prefixes", "`prefixes`: must be a list"),
        (
            "model_labels: [model]",
            "model_labels: [[a]]",
            "model_labels",
            "`model_labels`: must be a text",
        ),
        (
            "measures:\n",
            "measures: []\nx:\n",
            "measures:",
            "`measures`: must be a mapping of keys to values",
        ),
        (
            "  ttft_seconds",
            "  ttft",
            "  ttft_seconds",
            "`measures.ttft`: no engine metric of this name is in catalog.yaml",
        ),
        ("    unit: milliseconds\n", "", "  ttft_seconds", f"{TTFT}.unit`: this key is missing"),
        (
            UNIT,
            UNIT.replace("milli", "centi"),
            "unit: milliseconds",
            f"{TTFT}.unit`: `centiseconds` is not known",
        ),
        (
            UNIT,
            "tokens\n    merge",
            "  ttft_seconds",
            f"{TTFT}`: a histogram in tokens here, and a histogram in seconds in catalog.yaml",
        ),
        (
            "kind: histogram",
            "kind: gauge",
            "  ttft_seconds",
            f"{TTFT}`: a gauge in seconds here, and a histogram in seconds in catalog.yaml",
        ),
        (
            "bounds: [0.1, 1]",
            "bounds: [1, 0.1]",
            "bounds",
            f"{TTFT}.bounds`: must be numbers that rise",
        ),
        (ROW, "names: []", ROW, f"{TTFT}.from[0].names`: at least one name is needed; of a hist"),
        ('names: ["tinyserve_*"]', "names: []", "tinyserve_*", "`recognise[0].names`: at least"),
        (ROW, f"{ROW}, precision: 6", ROW, f"{TTFT}.from[0].precision`: this key is not known"),
        (
            ROW,
            f"{ROW}, keep: [rank]",
            ROW,
            f"{TTFT}.from[0]`: gives the labels ['rank']; catalog.yaml has []",
        ),
        ('"2.."', '"2.("', '"2.."', "is no regular expression"),
        (
            "progress: [tokens_total]",
            "progress: [x]",
            1,
            "`progress`: `x` is no measure of this dialect",
        ),
        ("  itl_seconds:", "  itl:", 1, "`not_available`: `itl` is not in catalog.yaml"),
        (
            "default_port: 9000",
            "default_port: '9000'",
            "default_port",
            "`processes[0].default_port`: must be a whole number",
        ),
        ("title:", "engine: again\ntitle:", "title", "`engine` is written twice"),
        ("title:", "\ttitle:", "title", "a tab cannot indent here; use spaces"),
    ],
)
def test_a_mistake_names_file_line_and_key(old, new, place, text):
    message = mistake(old, new)
    line = place if isinstance(place, int) else line_of(place)
    assert message.startswith(f"tinyserve.yaml:{line}:"), message
    assert text in message


def test_a_role_without_conditions_is_told_only_by_who_knows():
    roles = "roles: [{role: decode, says: it decodes, leaves_out: [tokens_total]}]\nmeasures:"
    example = parse(EXAMPLE.replace("measures:", roles, 1))
    page = read_page(PAGE)

    told = plan(page, {example.engine: example}, role="decode")
    untold = plan(page, {example.engine: example})

    assert (untold.role, untold.left_out) == ("engine", frozenset())
    assert (told.role, told.left_out) == ("decode", frozenset(["tokens_total"]))
    assert "tokens_total" in {row.key.measure for row in untold.counters}
    assert "tokens_total" not in {row.key.measure for row in told.counters}
    why = "left to another page of the same requests: it decodes"
    assert told.not_available["tokens_total"] == why


def test_a_cancelled_estimate_names_two_histograms_of_the_dialect():
    estimate = "cancelled_estimate: {first: ttft_seconds, finished: tokens_total}\nprogress:"
    assert mistake("progress:", estimate).endswith(
        "`cancelled_estimate.finished`: `tokens_total` is not known; known: ttft_seconds"
    )
