"""From the `probes` of a config to Probe values: small requests of our own, and what bounds them.

Nothing is sent unless the file lists a probe. It opens no connection and reads no key. Surprising:
each probe is bounded in tokens per day even where the file does not say so.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from burnmeter import config_rules as rules
from burnmeter import config_targets
from burnmeter.config_rules import Report, Rule, RuleError, number, plain, whole
from burnmeter.located import Located
from burnmeter.units import SECONDS_PER_DAY, SECONDS_PER_HOUR, TOKENS_PER_MILLION

APIS: Final = {"chat": "/chat/completions", "completions": "/completions"}
"""`engine_api` -> how the paths of its requests end."""
PROMPT_CHARACTERS: Final = 2000
TEMPLATE_TOKENS: Final = 100
"""What a chat template may add to a prompt; the first answer tells how much it is."""
EXAMPLE: Final = "http://127.0.0.1:8000"
NEEDED: Final = {"name": "chat-probe", "url": EXAMPLE, "model": "llama-3.3-70b"}
"""Keys that each probe must have, with an example."""
ROUNDING_RATIO: Final = 1e-9
"""What may be lost of a number that was told in a message and then written."""
PRICES: Final = ("prompt_dollars_per_million_tokens", "generated_dollars_per_million_tokens")
_VERSION_AT_THE_END: Final = re.compile(r"/v\d+\w*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One of `probes`: a request that is sent now and then, to see what a client sees."""

    name: str
    """The probe's name in metrics and on the page."""
    url: str
    """Where its requests go: an OpenAI-compatible endpoint, or the whole address of one."""
    model: str
    """The endpoint's word for the model; our name comes by way of `models`."""
    engine_api: str = "chat"
    """What is asked: `chat` (chat completions) or `completions`."""
    every_seconds: float = 60.0
    """How often a request is sent; never two at once."""
    max_tokens: int = 16
    """Most tokens that one answer may have."""
    timeout_seconds: float = 30.0
    """How long one request and its answer may take together; an answer that takes longer failed."""
    prompt: str = field(default="Count from one to twenty in words.", repr=False)
    """What is asked; it appears in no metric, page or log."""
    token_file: str | None = None
    """File that holds the endpoint's key."""
    token_environment: str | None = None
    """Environment variable that holds the key instead."""
    prompt_dollars_per_million_tokens: float | None = None
    """Price of what is sent."""
    generated_dollars_per_million_tokens: float | None = None
    """Price of what comes back."""
    tokens_per_day: int = 250_000
    """Most tokens in one day (UTC), sent and received; then the probe rests until the next."""
    dollars_per_day: float | None = None
    """Most dollars in one day; needs both prices."""

    @property
    def most_prompt_tokens(self) -> int:
        """What the prompt may come to, before an answer has told: no token is less than a byte."""
        return len(self.prompt.encode()) + TEMPLATE_TOKENS

    def dollars(self, prompt_tokens: float, generated_tokens: float) -> float | None:
        """What so many tokens cost; None: no prices are set."""
        prompt, generated = (getattr(self, key) for key in PRICES)
        if prompt is None or generated is None:
            return None
        spent: float = prompt * prompt_tokens + generated * generated_tokens
        return spent / TOKENS_PER_MILLION


def read_probes(report: Report, node: Located) -> tuple[Probe, ...]:
    """The list of probes, as far as they are right."""
    names: set[str] = set()
    return tuple(rules.items(report, node, "probes", lambda n, w: _read(report, n, w, names)))


def check_names(
    report: Report, node: Located, probes: Collection[Probe], targets: Collection[str]
) -> None:
    """A probe is a target among the others, so it needs a name of its own."""
    for probe in probes:
        if probe.name in targets:
            text = f"probes: `{probe.name}` is the name of a target too; choose another"
            report.error(node, text)


def _read(report: Report, node: Located, where: str, names: set[str]) -> list[Probe]:
    price = number("dollars", 0, 10_000)
    keys: Mapping[str, Rule] = {
        "name": rules.word,
        "url": endpoint,
        "model": rules.word,
        "engine_api": rules.choice("an API that is probed", APIS),
        "every_seconds": number("every_seconds", 10, 86400),
        "max_tokens": whole("max_tokens", 1, 256),
        "timeout_seconds": number("timeout_seconds", 0.1, 600),
        "prompt": lambda got: rules.word(got, limit=PROMPT_CHARACTERS),
        "token_file": rules.file_name,
        "token_environment": rules.environment_name,
        **dict.fromkeys(PRICES, price),
        "tokens_per_day": whole("tokens_per_day", 1, 1_000_000_000),
        "dollars_per_day": number("dollars_per_day", 0, 10_000),
    }
    values = rules.section(report, node, where, keys)
    for key, example in NEEDED.items():
        if rules.lacks(node, key, keys):
            report.error(node, f"{where}: `{key}` is missing; add one like `{key}: {example}`")
    _check_name(report, node, where, values.get("name"), names)
    _check_pairs(report, node, where)
    if not NEEDED.keys() <= values.keys():
        return []
    _complete_url(report, node, where, values)
    probe = Probe(**values)
    _check_bounds(report, node, where, probe)
    return [probe]


def _check_name(
    report: Report, node: Located, where: str, name: str | None, names: set[str]
) -> None:
    if name in names:
        text = f"{where}.name: `{name}` is the name of another probe above; choose another"
        report.error(rules.find(node, "name"), text)
    elif name is not None:
        names.add(name)


def _check_pairs(report: Report, node: Located, where: str) -> None:
    """What goes together, and what does not."""
    if rules.has(node, "token_file") and rules.has(node, "token_environment"):
        text = f"{where}: `token_file` and `token_environment` name two keys; keep one"
        report.error(rules.find(node, "token_environment"), text)
    given = [key for key in PRICES if rules.has(node, key)]
    if len(given) == 1:
        (other,) = set(PRICES) - set(given)
        text = f"{where}: `{given[0]}` without `{other}`; write both, 0 if it costs nothing"
        report.error(rules.find(node, given[0]), text)
    if rules.has(node, "dollars_per_day") and not given:
        text = f"{where}.dollars_per_day: needs the prices; add `{'` and `'.join(PRICES)}`"
        report.error(rules.find(node, "dollars_per_day"), text)


def _complete_url(report: Report, node: Located, where: str, values: dict[str, Any]) -> None:
    """Add to a base what its API's paths end with; a whole address says its API itself."""
    parts = urlsplit(values["url"])
    path = parts.path.rstrip("/")
    said = next((api for api, end in APIS.items() if path.endswith(end)), None)
    api = values.setdefault("engine_api", said or "chat")
    if said is not None and said != api:
        text = f"{where}.engine_api: `{api}`, but the url is for `{said}`; correct either"
        report.error(rules.find(node, "engine_api"), text)
    if said is None:
        path += APIS[api] if _VERSION_AT_THE_END.search(path) else f"/v1{APIS[api]}"
    values["url"] = urlunsplit(parts._replace(path=path))


def _check_bounds(report: Report, node: Located, where: str, probe: Probe) -> None:
    """A bound below what one request may take would let none be sent."""
    prompt, generated = probe.most_prompt_tokens, probe.max_tokens
    if probe.tokens_per_day < prompt + generated:
        text = f"{where}.tokens_per_day: {probe.tokens_per_day} is less than one request may take"
        report.error(rules.find(node, "tokens_per_day"), f"{text} ({prompt + generated})")
    else:
        _check_pace(report, node, where, probe, "tokens_per_day", prompt + generated)
    dollars = probe.dollars(prompt, generated)
    if probe.dollars_per_day is None or dollars is None:
        return
    if probe.dollars_per_day < dollars:
        text = f"{where}.dollars_per_day: {plain(probe.dollars_per_day)} is less than one request"
        report.error(rules.find(node, "dollars_per_day"), f"{text} may cost ({plain(dollars)})")
    else:
        _check_pace(report, node, where, probe, "dollars_per_day", dollars)


def _check_pace(
    report: Report, node: Located, where: str, probe: Probe, key: str, most: float
) -> None:
    """A bound that does not last for its day leaves a hole in what is measured, each day.

    `most`: what one request may take of it.
    """
    bound: float = getattr(probe, key)
    requests = ceil(SECONDS_PER_DAY / probe.every_seconds)
    if bound >= requests * most * (1 - ROUNDING_RATIO):
        return
    lasts_seconds = bound // most * probe.every_seconds
    measured, span = key.removesuffix("_per_day"), _span(lasts_seconds)
    text = f"{where}.{key}: {plain(bound)} may last only {span} of each day: one request may"
    text += f" take {plain(most)} {measured}, and one is sent every {plain(probe.every_seconds)} s;"
    text += f" write {plain(requests * most)}, or a larger `every_seconds`"
    report.warn(rules.find(node, key), text)


def _span(seconds: float) -> str:
    """A stretch of at most a day, in words."""
    for unit_seconds, unit in ((SECONDS_PER_HOUR, "h"), (60.0, "min")):
        if seconds >= unit_seconds:
            return f"{plain(round(seconds / unit_seconds, 1))} {unit}"
    return f"{plain(round(seconds, 1))} s"


def endpoint(node: Located) -> str:
    """The address of an endpoint, or the beginning of one."""
    address = config_targets.address(node, EXAMPLE)
    parts = urlsplit(address)
    if parts.path.rstrip("/").endswith("/metrics"):
        text = "this is a metrics page; a probe asks the endpoint that users ask, like"
        raise RuleError(f"{text} {EXAMPLE}")
    return address
