"""`burnmeter dashboards` from the command line: words, widths, exit codes, files, and no token."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from burnmeter.cli import main
from burnmeter.config import Config
from burnmeter.provision import dashboard_set
from burnmeter.provision.grafana_objects import DASHBOARD
from tests import grafana_server
from tests.grafana_server import PROXY_PAGE, TOKEN, serving

BOARDS = dashboard_set.dashboards(Config().objectives)
FIRST = BOARDS[0].uid


@pytest.fixture
def there() -> Iterator[grafana_server.Grafana]:
    with serving() as grafana:
        yield grafana


def run(verb: str, *words: str, typed: str | None = None, token: str = TOKEN) -> Result:
    environment = {"COLUMNS": "80", "GRAFANA_TOKEN": token}
    result = CliRunner(env=environment).invoke(main, ["dashboards", verb, *words], typed)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert TOKEN not in result.stdout + result.stderr
    if verb in ("diff", "push") and "--json" not in words:
        assert [line for line in result.stdout.splitlines() if len(line) > 80] == []
    return result


@pytest.mark.parametrize("verb", ["write", "diff", "push", "pull"])
def test_help_fits_80_columns_and_says_the_exit_codes(verb: str) -> None:
    assert "Exit codes: 0 " in run(verb, "--help").stdout


def test_a_diff_tells_what_is_new_and_writes_nothing(there: grafana_server.Grafana) -> None:
    result = run("diff", "--url", there.url)

    assert result.exit_code == 1
    assert result.stdout.startswith(f"{there.url}: {len(BOARDS) + 1} new\n\n")
    assert f"new        folder      burnmeter\nnew        dashboard   {BOARDS[0].title}" in (
        result.stdout
    )
    assert there.writes == []


def test_a_push_shows_it_asks_and_writes_and_then_nothing_differs(
    there: grafana_server.Grafana,
) -> None:
    pushed = run("push", "--url", there.url, typed="y\n")
    again = run("push", "--url", there.url)
    differs = run("diff", "--url", there.url)

    count = len(BOARDS) + 1
    assert f"Write {count} objects into {there.url}? [y/N]" in pushed.stderr
    assert pushed.stdout.endswith(f"{there.url}: {count} created\n")
    assert again.stdout == f"{there.url}: nothing to do; {count} objects are as they should be\n"
    assert differs.stdout == f"{there.url}: {count} unchanged\n"
    assert (pushed.exit_code, again.exit_code, differs.exit_code) == (0, 0, 0)


@pytest.mark.parametrize(
    ("typed", "words"),
    [("n\n", "nothing is written"), ("", "nobody answers, so nothing is written; --yes writes")],
)
def test_without_a_yes_nothing_is_written(
    there: grafana_server.Grafana, typed: str, words: str
) -> None:
    result = run("push", "--url", there.url, typed=typed)

    assert result.exit_code == 1
    assert words in result.stderr
    assert there.writes == []


def test_an_edit_is_shown_as_a_diff_and_kept(there: grafana_server.Grafana) -> None:
    run("push", "--url", there.url, "--yes")
    there.edit(FIRST, title="A person's title", description="long " * 40)

    shown, pushed = run("diff", "--url", there.url), run("push", "--url", there.url, "--yes")

    assert (shown.exit_code, pushed.exit_code) == (1, 1)
    assert "somebody has edited it since burnmeter wrote it; `pull` keeps it" in shown.stdout
    assert f"--- {FIRST} in Grafana\n+++ {FIRST} of burnmeter\n@@ " in shown.stdout
    assert '\n-  "title": "A person\'s title",\n' in shown.stdout
    assert f'\n+  "title": "{BOARDS[0].title}",\n' in shown.stdout
    assert "burnmeter_mark" not in shown.stdout
    assert f"1 kept, {len(BOARDS)} unchanged" in pushed.stdout
    forced = run("push", "--url", there.url, "--yes", "--force")
    assert (forced.exit_code, "1 overwritten" in forced.stdout) == (0, True)


def test_a_change_within_a_panel_is_shown_with_its_title(there: grafana_server.Grafana) -> None:
    run("push", "--url", there.url, "--yes")
    panel = there.dashboards[FIRST]["dashboard"]["panels"][0]
    panel["gridPos"] = {**panel["gridPos"], "h": 77}

    lines = run("diff", "--url", there.url).stdout.splitlines()

    (head,) = (line for line in lines if line.startswith("@@"))
    assert head.endswith(f" {panel['title']}")


def test_json_is_the_same_for_machines(there: grafana_server.Grafana) -> None:
    run("push", "--url", there.url, "--yes")
    there.edit(FIRST, title="A person's")

    found = json.loads(run("diff", "--url", there.url, "--json").stdout)
    pushed = json.loads(run("push", "--url", there.url, "--json", "--yes").stdout)

    assert (found["url"], found["is_fine"]) == (there.url, False)
    by_uid = {one["uid"]: one for one in found["objects"]}
    assert by_uid["burnmeter"]["state"] == "unchanged"
    assert by_uid[FIRST]["state"] == "edited"
    assert '-  "title": "A person\'s",' in by_uid[FIRST]["diff"]
    assert {one["uid"]: one["result"] for one in pushed["objects"]}[FIRST] == "kept"


def test_alerts_come_with_a_word_on_what_they_need(there: grafana_server.Grafana) -> None:
    words = ("--url", there.url, "--alerts", "--prometheus-url", "http://p:9090")

    pushed, differs = run("push", *words, "--yes"), run("diff", *words)

    assert (pushed.exit_code, differs.exit_code) == (0, 0)
    assert "recording rules record, which stay in Prometheus" in pushed.stderr
    assert len(there.rules) > 40
    assert {rule["folderUID"] for rule in there.rules.values()} == {"burnmeter"}


def test_failures_are_told_one_by_one_after_what_went_well(there: grafana_server.Grafana) -> None:
    there.refuses("POST", "/dashboards/db", 502, PROXY_PAGE, times=1)

    result = run("push", "--url", there.url, "--yes")

    assert result.exit_code == 1
    assert "1 failed" in result.stdout
    assert "a proxy answers, and Grafana" in result.stdout


@pytest.mark.parametrize("verb", ["diff", "push"])
def test_a_wrong_token_is_one_message_without_the_token(
    there: grafana_server.Grafana, verb: str
) -> None:
    result = run(verb, "--url", there.url, token="hunter3")

    assert result.exit_code == 1
    assert result.stderr == (
        f"burnmeter: {there.url}: HTTP 401: it does not know the token; give a service account's"
        " token by --token-file or GRAFANA_TOKEN\n"
    )


def test_the_file_of_a_token_comes_before_the_environment(
    there: grafana_server.Grafana, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    words = ("--url", there.url, "--token-file", str(tmp_path / "token"))
    assert "new" in run("diff", *words, token="another").stdout


def test_a_pull_keeps_what_a_person_made_as_a_file(
    there: grafana_server.Grafana, tmp_path: Path
) -> None:
    run("push", "--url", there.url, "--yes")
    there.edit(FIRST, title="A person's")

    result = run("pull", "--url", there.url, "--out", str(tmp_path))

    assert (result.exit_code, result.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {f"{one.uid}.json" for one in BOARDS}
    document = json.loads((tmp_path / f"{FIRST}.json").read_text())
    assert document["title"] == "A person's"
    assert document.keys().isdisjoint({"id", "version"})
    assert DASHBOARD.stamp(document) is None


def test_a_pull_names_what_is_not_there(there: grafana_server.Grafana, tmp_path: Path) -> None:
    result = run("pull", "--url", there.url, "--out", str(tmp_path))

    assert result.exit_code == 1
    assert f"{FIRST}: {there.url} has no such dashboard\n" in result.stderr
    told = json.loads(run("pull", "--url", there.url, "--out", str(tmp_path), "--json").stdout)
    assert (told["files"], set(told["failed"])) == ([], {one.uid for one in BOARDS})


def test_what_is_pulled_unedited_is_what_is_written(
    there: grafana_server.Grafana, tmp_path: Path
) -> None:
    run("push", "--url", there.url, "--yes")

    run("pull", "--url", there.url, "--out", str(tmp_path / "pulled"))
    run("write", "--out", str(tmp_path / "written"))

    for board in BOARDS:
        name = f"{board.uid}.json"
        pulled, written = (tmp_path / folder / name for folder in ("pulled", "written"))
        assert pulled.read_text() == written.read_text()


def test_plain_files_are_what_grafanas_provisioning_reads(tmp_path: Path) -> None:
    out, words = str(tmp_path), ("--path", "/boards", "--prometheus-url", "http://p:9090")

    result = run("write", "--out", out, *words)

    assert (result.exit_code, result.stdout) == (0, f"{out}: {len(BOARDS) + 2} files\n")
    dashboards = yaml.safe_load((tmp_path / "provisioning/dashboards/burnmeter.yaml").read_text())
    (provider,) = dashboards["providers"]
    assert (dashboards["apiVersion"], provider["type"]) == (1, "file")
    assert (provider["folderUid"], provider["options"]) == ("burnmeter", {"path": "/boards"})
    sources = yaml.safe_load((tmp_path / "provisioning/datasources/burnmeter.yaml").read_text())
    (source,) = sources["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://p:9090")


def test_without_an_address_no_data_source_is_written(tmp_path: Path) -> None:
    run("write", "--out", str(tmp_path))

    assert not (tmp_path / "provisioning/datasources").exists()


def test_a_file_of_a_dashboard_that_is_no_more_is_named(tmp_path: Path) -> None:
    (tmp_path / "burnmeter-old.json").write_text("{}")

    result = run("write", "--out", str(tmp_path))

    assert "burnmeter-old.json: of no dashboard that there is now; remove it" in result.stderr
