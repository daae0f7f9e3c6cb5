"""`burnmeter canary` with a real Prometheus: verdict, words and exit codes to script with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from burnmeter.cli import main
from tests import canary_history, servers
from tests.canary_history import UNTIL_SECONDS

TIME = ("--until", repr(UNTIL_SECONDS))
WIDTH = 80


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with canary_history.served(tmp_path_factory.mktemp("canary")) as address:
        yield address


def canary(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(main, ["canary", *words])


def pair(url: str, name: str, *words: str) -> Result:
    sides = ("--baseline", f'target="{name}-base"', "--candidate", f'target="{name}-cand"')
    return canary("--prometheus", url, *sides, *TIME, *words)


SHARES = ("--measure", "ttft", "--measure", "errors")


@pytest.mark.parametrize(
    ("name", "words", "code", "verdict"),
    [
        ("equal", (), 0, "PASS"),
        ("worse", SHARES, 1, "FAIL"),
        ("worse", ("--measure", "cost"), 1, "FAIL"),
        ("quiet", SHARES, 3, "INCONCLUSIVE"),
        ("nobody", (), 3, "INCONCLUSIVE"),
    ],
)
def test_the_verdict_comes_first_and_is_the_exit_code(
    url: str, name: str, words: tuple[str, ...], code: int, verdict: str
) -> None:
    result = pair(url, name, *words)

    assert result.stdout.split(":")[0] == verdict
    assert result.exit_code == code
    assert [line for line in result.stdout.splitlines() if len(line) > WIDTH] == []
    assert result.stderr == ""


def test_one_measure_that_is_not_exported_is_enough_for_no_pass(url: str) -> None:
    sides = ("--baseline", 'target="equal-base"', "--candidate", 'target="bare"')

    both = canary("--prometheus", url, *sides, *TIME, "--measure", "ttft", "--measure", "tpot")
    alone = canary("--prometheus", url, *sides, *TIME, "--measure", "ttft")

    assert (both.exit_code, alone.exit_code) == (3, 0)
    assert 'the candidate has no burnmeter_tpot_seconds_count{target="bare"}' in both.stdout


def test_json_has_every_number_and_what_was_counted(url: str) -> None:
    result = pair(url, "equal", "--json")

    found = json.loads(result.stdout)
    assert (found["verdict"], found["alpha_ratio"], found["slice_seconds"]) == ("pass", 0.05, 60.0)
    ttft = found["measures"]["ttft"]
    assert ttft["lower"] < ttft["difference"] < ttft["upper"] < ttft["margin"]
    assert (ttft["slices"], ttft["what"]) == (30, "slower than 0.5 s")
    assert list(found["measures"]) == ["ttft", "tpot", "errors", "cost", "energy"]


def test_the_statistics_are_stated(url: str) -> None:
    words = " ".join(pair(url, "equal", *SHARES, "--looks", "2").stdout.split())

    assert (
        "If nothing is worse, this says fail with a probability of at most 0.05 in any of 2 looks"
        " (0.0125 a measure, 2 asked); if one is worse by its margin or more, pass with at most"
        " 0.05."
    ) in words
    assert "Student's t with 19 degrees of freedom" in words


def test_an_objective_gives_threshold_and_margin(url: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    one = "name: t, indicator: ttft, threshold_seconds: 0.25, objective_percent: 90"
    other = "name: o, indicator: ttft, threshold_seconds: 1, objective_percent: 99"
    config.write_text(f"slos: [{{{other}, match: {{model: other}}}}, {{{one}}}]\n")

    result = pair(
        url, "equal", "--config", str(config), "--measure", "ttft", "--model", "m", "--json"
    )

    ttft = json.loads(result.stdout)["measures"]["ttft"]
    assert ttft["what"] == "slower than 0.25 s"
    assert ttft["margin"] == pytest.approx(0.05), "half of what the objective leaves"


def test_margin_and_threshold_can_be_named(url: str) -> None:
    words = ("--margin", "ttft=0.2", "--threshold", "ttft=1", "--measure", "ttft", "--json")

    ttft = json.loads(pair(url, "equal", *words).stdout)["measures"]["ttft"]

    assert (ttft["margin"], ttft["what"]) == (0.2, "slower than 1 s")


# --- called wrongly is 2 -------------------------------------------------------------------------

SIDES = ("--baseline", 'target="a"', "--candidate", 'target="b"')
WRONG = {
    "no matcher": (
        ("--baseline", "target=a", "--candidate", 'target="b"'),
        "Invalid value for '--baseline': `target=a` is no matcher; write one like"
        ' target="a" or pod=~"chat-.*"',
    ),
    "nothing": (
        ("--baseline", "{}", "--candidate", 'target="b"'),
        "Invalid value for '--baseline': it is empty; write one like target=\"a\"",
    ),
    "what is counted": (
        ("--baseline", 'target="a"', "--candidate", 'target="b",outcome="ok"'),
        "Invalid value for '--candidate': `outcome` says what is counted, not who; name a side by"
        " target, pod or the like",
    ),
    "no duration": (
        (*SIDES, "--since", "30"),
        "Invalid value for '--since': `30` is no length of time; write one like 30d, 12h or 60s",
    ),
    "too few slices": (
        (*SIDES, "--since", "19m"),
        "--since holds 19 times --slice; between 20 and 2000 are needed",
    ),
    "a part of a slice": (
        (*SIDES, "--since", "30m", "--slice", "7s"),
        "--since must be a whole number of --slice",
    ),
    "no slice": (
        (*SIDES, "--slice", "0s"),
        "Invalid value for '--slice': `0s` is not between 1s and 366d",
    ),
    "no measure": (
        (*SIDES, "--margin", "itl=0.1"),
        "Invalid value for '--margin': `itl` is no measure; known: ttft, tpot, errors, cost,"
        " energy",
    ),
    "no number": (
        (*SIDES, "--margin", "cost=-1"),
        "Invalid value for '--margin': `cost=-1` names no number above 0; write one like cost=0.05",
    ),
    "no zone": (
        (*SIDES, "--until", "2026-11-01T12:00:00"),
        "Invalid value for '--until': `2026-11-01T12:00:00` names no zone; write"
        " 2026-11-01T12:00:00Z if it is UTC",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_called_wrongly_is_said(case: str) -> None:
    words, text = WRONG[case]

    result = canary("--prometheus", "http://127.0.0.1:9", *words)

    assert result.stderr.endswith(f"Error: {text}\n")
    assert (result.exit_code, result.stdout) == (2, "")


def test_sides_that_share_series_are_a_wrong_call(url: str) -> None:
    sides = ("--baseline", 'target="equal-base"', "--candidate", 'target=~"equal-.*"')

    result = canary("--prometheus", url, *sides, *TIME)

    assert result.stderr.endswith(
        "Error: 1 series of burnmeter_ttft_seconds_count are on both sides; name sides that share"
        " none\n"
    )
    assert result.exit_code == 2


# --- not asked is 4, never a pass nor a fail -----------------------------------------------------


def test_a_prometheus_that_is_not_there_is_no_verdict() -> None:
    result = canary("--prometheus", "http://127.0.0.1:9", *SIDES)

    assert result.stderr.startswith("burnmeter: http://127.0.0.1:9 does not answer: ")
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_matcher_that_prometheus_refuses_is_no_verdict(url: str) -> None:
    result = canary(
        "--prometheus", url, "--baseline", 'target=~"("', "--candidate", 'target="b"', *TIME
    )

    assert "refuses: bad_data" in result.stderr
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_config_with_mistakes_is_no_verdict(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("slo: []\n")

    result = canary("--prometheus", "http://127.0.0.1:9", *SIDES, "--config", str(config))

    assert result.stderr.startswith(f"{config}:1:1: unknown key `slo`")
    assert result.exit_code == 4


def test_the_token_of_a_file_is_sent_and_one_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")

    def refuses(talk: servers.Talk) -> None:
        sent = b""
        while b"time=" not in sent:  # The last field of the body: a POST is more than its head.
            sent += talk.sock.recv(65536)
        talk.server.requests.append(sent.decode())
        talk.says(servers.answer(b"no", "403 Forbidden"))

    with servers.Server(refuses) as closed:
        words = ("--prometheus", closed.url.removesuffix("/metrics"), *SIDES)
        refused = canary(*words, "--token-file", str(token))
        unread = canary(*words, "--token-file", str(tmp_path / "none"))

    assert "Authorization: Bearer secret" in closed.requests[0]
    assert refused.stderr.endswith("refuses: HTTP 403; the token may not ask this\n")
    assert unread.stderr == (
        f"burnmeter: {tmp_path / 'none'}: cannot be read: No such file or directory\n"
    )
    assert (refused.exit_code, unread.exit_code) == (4, 4)


# --- objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "kind"), [("argo", "AnalysisTemplate"), ("flagger", "MetricTemplate")]
)
def test_objects_are_written_without_asking(format_: str, kind: str) -> None:
    words = ("--model", "chat", "--measure", "tpot", "--format", format_)

    result = canary("--prometheus", "http://127.0.0.1:9", *SIDES, *words)

    assert f"kind: {kind}\n" in result.stdout
    assert 'model="chat",target="{{' in result.stdout
    assert 'le=~"0[.]1"' in result.stdout, "the threshold of the objective that holds by default"
    assert (result.exit_code, result.stderr) == (0, "")
