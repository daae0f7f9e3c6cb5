"""From the `prices` of a config, or a file of prices, to Prices: what GPUs cost and tokens bring.

It looks nothing up; pricing.py does. Surprising: a file of prices has the same keys as the section,
and what it says of a GPU comes before all that the config says, also where that is more exact: it
is the file that somebody changes while the agent runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from burnmeter import config_rules as rules
from burnmeter import located
from burnmeter.boards import words
from burnmeter.config_rules import Report, Rule, number
from burnmeter.errors import Problem
from burnmeter.located import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """One of `prices.owned`: a GPU that was bought."""

    capital_dollars: float
    """What it cost, with its share of the machine around it."""
    lifetime_years: float
    """Over how long that is written off."""
    overhead_dollars_per_hour: float = 0.0
    """What it costs besides, whether or not it works: space, network, people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPrice:
    """One of `prices.by_node_label`."""

    label: str
    """A label of the node, as `node_labels` has it."""
    value: str
    """What it must be."""
    gpu_dollars_per_hour: float
    """The price of each GPU of such a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """One of `prices.tokens`: what a model's tokens bring."""

    prompt_dollars_per_million_tokens: float = 0.0
    """What a million tokens of prompts bring."""
    cached_prompt_dollars_per_million_tokens: float | None = None
    """The same of those that were in the prefix cache; absent: as for all prompts."""
    generated_dollars_per_million_tokens: float = 0.0
    """What a million generated tokens bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The section `prices`."""

    gpu_dollars_per_hour: Mapping[str, float] = field(default_factory=dict)
    """By GPU name, or by some words of it: `H100` is good for `NVIDIA H100 80GB HBM3`."""
    default_gpu_dollars_per_hour: float | None = None
    """For GPUs not listed above; absent: the shipped list, and what it lacks is not known."""
    by_node_label: tuple[LabelPrice, ...] = ()
    """Prices of nodes that have a label; the first that fits comes before all others."""
    owned: Mapping[str, Owned] = field(default_factory=dict)
    """GPUs that were bought, by name or words of it: their price is made of these numbers."""
    electricity_dollars_per_kilowatt_hour: float | None = None
    """What power for owned GPUs costs; absent: their power is not in their cost."""
    power_usage_effectiveness_ratio: float | None = None
    """Power of the whole building over that of its machines (PUE); absent: 1."""
    tokens: Mapping[str, TokenPrices] = field(default_factory=dict)
    """Our name of a model -> what its tokens bring, so that its margin is known."""
    file: str | None = None
    """A file with these same keys, reread when it changes; it comes before what is said here."""


_DOLLARS: Final = number("dollars", 0, 1000)
_TOKEN_DOLLARS: Final = number("dollars", 0, 10_000)


def read_prices(report: Report, node: Located, where: str = "prices") -> Prices:
    """The section as far as it is right; `where` is empty for a file of prices."""
    keys = _keys(report, where)
    if where == "":
        del keys["file"]
    prices = Prices(**rules.section(report, node, where, keys))
    _check_names(report, node, where)
    if where and prices.file is None:
        _check_power(report, node, (prices,), where)
    return prices


def parse_file(
    source: bytes, path_shown: str, config: Prices | None = None
) -> tuple[Prices | None, tuple[Problem, ...]]:
    """A file of prices, or None; and all its problems, beside the `config` that names it.

    An empty one is a mistake: so an editor leaves it for a moment that empties it and then writes.
    """
    root, problems = located.read(source, path_shown)
    report = Report(path_shown, list(problems))
    prices = None
    if root is not None and root.value is None:
        report.error(root, "the file is empty; write `{}` if nothing has a price of its own")
    elif root is not None:
        prices = read_prices(report, root, "")
        if config is not None:
            _check_power(report, root, (prices, config), "")
    found = tuple(sorted(set(report.problems)))
    return (None if any(not one.is_warning for one in found) else prices), found


def _keys(report: Report, where: str) -> dict[str, Rule]:
    def under(key: str) -> str:
        return located.step(where, key)

    return {
        "gpu_dollars_per_hour": lambda node: rules.table(
            report, node, under("gpu_dollars_per_hour"), _DOLLARS
        ),
        "default_gpu_dollars_per_hour": _DOLLARS,
        "by_node_label": lambda node: tuple(
            rules.items(report, node, under("by_node_label"), lambda n, w: _label(report, n, w))
        ),
        "owned": lambda node: rules.entries(
            report, node, under("owned"), lambda n, w: _owned(report, n, w)
        ),
        "electricity_dollars_per_kilowatt_hour": number("dollars", 0, 10),
        "power_usage_effectiveness_ratio": number("ratio", 1, 4),
        "tokens": lambda node: rules.entries(
            report, node, under("tokens"), lambda n, w: _tokens(report, n, w)
        ),
        "file": rules.file_name,
    }


def _label(report: Report, node: Located, where: str) -> list[LabelPrice]:
    keys = {"label": rules.word, "value": rules.word, "gpu_dollars_per_hour": _DOLLARS}
    values = _whole(report, node, where, keys, keys)
    return [LabelPrice(**values)] if values is not None else []


def _owned(report: Report, node: Located, where: str) -> list[Owned]:
    keys = {
        "capital_dollars": number("dollars", 0, 10_000_000),
        "lifetime_years": number("years", 0.1, 30),
        "overhead_dollars_per_hour": _DOLLARS,
    }
    values = _whole(report, node, where, keys, ("capital_dollars", "lifetime_years"))
    return [Owned(**values)] if values is not None else []


def _tokens(report: Report, node: Located, where: str) -> list[TokenPrices]:
    keys = dict.fromkeys((field.name for field in fields(TokenPrices)), _TOKEN_DOLLARS)
    values = rules.section(report, node, where, keys)
    if isinstance(node.value, Mapping) and not node.value:
        report.error(node, f"{where}: says no price; known keys: {rules.listing(keys)}")
    return [TokenPrices(**values)]


def _whole(
    report: Report, node: Located, where: str, keys: Mapping[str, Rule], needed: Iterable[str]
) -> dict[str, Any] | None:
    """The values of a mapping, None if one that is needed is missing or wrong."""
    values = rules.section(report, node, where, keys)
    for key in needed:
        if rules.lacks(node, key, keys):
            report.error(
                node,
                f"{where}: `{key}` is missing; all of these are needed: {rules.listing(needed)}",
            )
    return values if set(needed) <= values.keys() else None


def _check_names(report: Report, node: Located, where: str) -> None:
    """A GPU has one price, and a name of which a board's can have the words."""
    first: dict[frozenset[str], str] = {}
    for key in ("gpu_dollars_per_hour", "owned"):
        listed = rules.find(node, key).value if rules.has(node, key) else None
        for name, entry in listed.items() if isinstance(listed, Mapping) else ():
            place = located.step(located.step(where, key), name)
            other = first.setdefault(words(name), place)
            if name.strip() and not words(name):
                text = "the name has no letter from a to z and no digit, so it is of no GPU"
                report.error(entry.key, f"{place}: {text}")
            elif other is not place and words(name):
                report.error(entry.key, f"{place}: the GPU has a price as {other} too; keep one")


def _check_power(report: Report, node: Located, books: Sequence[Prices], where: str) -> None:
    """What is said of power is of owned GPUs only, whichever of the books says the one or other."""
    key = "electricity_dollars_per_kilowatt_hour"
    electricity = located.step(where, key)
    has_power = any(book.electricity_dollars_per_kilowatt_hour is not None for book in books)
    has_owned = any(book.owned for book in books)
    if has_owned and not has_power:
        owned = located.step(where if books[0].owned else "prices", "owned")
        text = f"{owned}: without {electricity} power is not in the cost"
        report.warn(rules.find(node, "owned"), text)
    if has_power and not has_owned and rules.has(node, key):
        text = f"{electricity}: is for owned GPUs only, and none is; a rent has power in it"
        report.warn(rules.find(node, key), text)
