"""Pushing into a Grafana: what is written, what is left alone, and that nothing hides the rest."""

from collections.abc import Iterator
from typing import Any

import pytest

from burnmeter.config import Config
from burnmeter.provision import grafana_alerts, grafana_push
from burnmeter.provision.dashboard_set import Dashboard
from burnmeter.provision.grafana_alerts import Asking
from burnmeter.provision.grafana_api import Grafana, GrafanaError
from burnmeter.provision.grafana_objects import DASHBOARD
from burnmeter.provision.grafana_push import Attempts, Plan, Report
from tests import grafana_server
from tests.grafana_server import PROXY_PAGE, TOKEN, Script, serving

ALERT_RULES = "/v1/provisioning/alert-rules"


@pytest.fixture
def there() -> Iterator[grafana_server.Grafana]:
    with serving() as grafana:
        yield grafana


def boards(**titles: str) -> tuple[Dashboard, ...]:
    documents = {uid: {"uid": uid, "title": title, "panels": []} for uid, title in titles.items()}
    return tuple(
        Dashboard(uid=uid, title=one["title"], document=one) for uid, one in documents.items()
    )


def plan(**more: Any) -> Plan:
    made = more.pop("made", boards(fleet="Fleet", node="Node"))
    return Plan(boards=grafana_push.boards_wanted(made), **more)


def with_alerts() -> Plan:
    groups = grafana_alerts.groups(Config().objectives[:1], Asking(datasource_uid="burnmeter"))
    return plan(made=(), groups=groups, datasource=grafana_push.datasource_wanted("http://p:9090"))


def push(
    there: grafana_server.Grafana, plan: Plan, *, is_forced: bool = False, seconds: float = 30.0
) -> Report:
    client, attempts = Grafana(there.url, token=TOKEN, timeout_seconds=seconds), Attempts()
    report = grafana_push.look(client, plan, attempts)
    grafana_push.push(client, plan, report, attempts, is_forced=is_forced)
    return report


def results(report: Report) -> dict[str, str]:
    return {row.uid: row.result for row in report.rows}


def reason(report: Report, uid: str) -> str:
    (found,) = (row.reason for row in report.rows if row.uid == uid)
    return found


def test_a_push_makes_all_and_a_second_one_writes_nothing(there: grafana_server.Grafana) -> None:
    whole = plan(
        groups=with_alerts().groups, datasource=grafana_push.datasource_wanted("http://p:9090")
    )

    first, written = push(there, whole), len(there.writes)
    second = push(there, whole)

    assert set(results(first).values()) == {"created"}
    assert set(results(second).values()) == {"unchanged"}
    assert first.is_fine
    assert second.is_fine
    assert len(there.writes) == written
    assert there.folders["burnmeter"]["title"] == "burnmeter"
    assert there.dashboards["fleet"]["meta"]["folderUid"] == "burnmeter"
    assert there.datasources["burnmeter"]["url"] == "http://p:9090"


def test_a_second_push_writes_nothing_into_a_grafana_that_fills_in_what_was_left_out(
    there: grafana_server.Grafana,
) -> None:
    there.is_filling_in = True
    whole = plan(groups=with_alerts().groups)

    push(there, whole)
    written = len(there.writes)
    second = push(there, whole)

    assert set(results(second).values()) == {"unchanged"}
    assert len(there.writes) == written
    assert second.notes == []
    there.edit("fleet", editable=False)
    assert results(push(there, whole))["fleet"] == "kept"


def test_what_we_make_otherwise_is_updated(there: grafana_server.Grafana) -> None:
    push(there, plan())

    report = push(there, plan(made=boards(fleet="The fleet", node="Node")))

    assert results(report) == {"burnmeter": "unchanged", "fleet": "updated", "node": "unchanged"}
    assert there.dashboards["fleet"]["dashboard"]["title"] == "The fleet"


def test_a_persons_edit_stays_until_it_is_forced(there: grafana_server.Grafana) -> None:
    push(there, plan())
    there.edit("fleet", title="A person's")

    kept = push(there, plan(made=boards(fleet="Newer", node="Newer node")))

    assert results(kept) == {"burnmeter": "unchanged", "fleet": "kept", "node": "updated"}
    assert not kept.is_fine
    assert there.dashboards["fleet"]["dashboard"]["title"] == "A person's"
    forced = push(there, plan(), is_forced=True)
    assert results(forced)["fleet"] == "overwritten"
    assert there.dashboards["fleet"]["dashboard"]["title"] == "Fleet"
    assert push(there, plan()).is_fine


@pytest.mark.parametrize("is_forced", [False, True])
def test_who_saves_between_the_look_and_the_push_wins_even_over_force(
    there: grafana_server.Grafana, is_forced: bool
) -> None:
    push(there, plan())
    there.edit("fleet", title="First")
    hurried = Script(
        *("POST", "/dashboards/db"), before=lambda: there.edit("fleet", title="Second"), times=1
    )
    there.scripts.append(hurried)

    report = push(there, plan(made=boards(fleet="Fleet", node="Newer")), is_forced=is_forced)

    title = there.dashboards["fleet"]["dashboard"]["title"]
    assert (results(report)["fleet"], title) == (
        ("failed", "Second") if is_forced else ("kept", "Second")
    )
    assert is_forced == ("HTTP 412" in reason(report, "fleet"))


def test_who_saves_just_after_the_push_is_not_taken_for_grafana(
    there: grafana_server.Grafana,
) -> None:
    push(there, plan())
    # The look reads it, the push writes it, and then it is read once more.
    there.scripts.append(Script("GET", "/dashboards/uid/fleet", times=1))
    there.scripts.append(
        Script(
            *("GET", "/dashboards/uid/fleet"),
            before=lambda: there.edit("fleet", title="A person's"),
            times=1,
        )
    )

    report = push(there, plan(made=boards(fleet="Newer", node="Node")))

    assert ["may take it for edited" in note for note in report.notes] == [True]
    assert results(push(there, plan()))["fleet"] == "kept"
    assert there.dashboards["fleet"]["dashboard"]["title"] == "A person's"


def test_a_dashboard_that_somebody_moved_is_updated_where_it_is(
    there: grafana_server.Grafana,
) -> None:
    push(there, plan())
    there.folders["elsewhere"] = {"uid": "elsewhere"}
    there.dashboards["fleet"]["meta"]["folderUid"] = "elsewhere"

    assert results(push(there, plan(made=boards(fleet="Newer"))))["fleet"] == "updated"
    assert there.dashboards["fleet"]["meta"]["folderUid"] == "elsewhere"


def test_one_that_files_own_is_left_and_said(there: grafana_server.Grafana) -> None:
    push(there, plan())
    there.dashboards["fleet"]["meta"]["provisioned"] = True

    report = push(there, plan(made=boards(fleet="Newer")), is_forced=True)

    assert results(report)["fleet"] == "kept"
    assert "Grafana has it from a file" in reason(report, "fleet")


def test_one_that_was_imported_by_hand_and_is_the_same_gets_its_stamp(
    there: grafana_server.Grafana,
) -> None:
    (fleet, _node) = boards(fleet="Fleet", node="Node")
    there.dashboards["fleet"] = {
        "dashboard": {**fleet.document, "version": 1},
        "meta": {"folderUid": ""},
    }

    assert results(push(there, plan()))["fleet"] == "updated"
    assert DASHBOARD.stamp(there.dashboards["fleet"]["dashboard"]) is not None


def test_our_folder_is_made_within_another_one(there: grafana_server.Grafana) -> None:
    there.folders["team"] = {"uid": "team"}

    assert push(there, plan(parent_uid="team")).is_fine
    assert there.folders["burnmeter"]["parentUid"] == "team"


def test_a_folder_that_is_not_there_to_be_within_ends_it_before_anything_is_written(
    there: grafana_server.Grafana,
) -> None:
    with pytest.raises(GrafanaError, match="there is no folder with the uid `team`"):
        push(there, plan(parent_uid="team"))

    assert there.writes == []


def test_our_folder_stays_where_somebody_has_moved_it(there: grafana_server.Grafana) -> None:
    push(there, plan())

    report = push(there, plan(parent_uid="team"))

    assert report.is_fine
    assert "is not in `team`; it stays where somebody has put it" in report.notes[0]


def test_without_the_folder_nothing_new_is_tried_and_it_is_said_once(
    there: grafana_server.Grafana,
) -> None:
    there.refuses("POST", "/folders", 403, {"message": "Access denied"})

    report = push(there, plan())

    assert set(results(report).values()) == {"failed"}
    assert "needs the role Editor" in reason(report, "burnmeter")
    assert reason(report, "fleet") == "not tried, as the folder `burnmeter` is not there"
    assert there.writes == ["POST /folders"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"message": "Access denied"}),
        (500, {"message": "database is locked"}),
        (502, PROXY_PAGE),
    ],
)
def test_one_that_fails_does_not_hide_the_others(
    there: grafana_server.Grafana, status: int, body: Any
) -> None:
    there.refuses("GET", "/dashboards/uid/fleet", status, body)
    there.refuses("POST", "/dashboards/db", status, body, times=1)

    made = boards(fleet="Fleet", node="Node", model="Model")
    report = push(there, plan(made=made))

    assert list(results(report).values()) == ["created", "failed", "failed", "created"]
    assert f"HTTP {status}" in reason(report, "fleet")


def test_a_slow_one_does_not_hide_the_others(there: grafana_server.Grafana) -> None:
    there.scripts.append(Script("GET", "/dashboards/uid/fleet", is_slow=True))

    report = push(there, plan(), seconds=0.3)

    assert list(results(report).values()) == ["created", "failed", "created"]
    assert "does not answer within 0.3 s" in reason(report, "fleet")


def test_where_nothing_answers_any_more_the_rest_is_not_tried(
    there: grafana_server.Grafana,
) -> None:
    there.refuses("GET", "/dashboards/uid/.*", 503, PROXY_PAGE)

    report = push(there, plan(made=boards(a="A", b="B", c="C", d="D")))

    assert there.asked.count("GET /dashboards/uid/c") == 0
    assert reason(report, "d") == "not tried, as nothing was answered before"


@pytest.mark.parametrize("status", [401, 502])
def test_one_message_is_enough_where_nothing_is_answered_at_all(
    there: grafana_server.Grafana, status: int
) -> None:
    there.refuses("GET", ".*", status, PROXY_PAGE)

    with pytest.raises(GrafanaError, match=f"HTTP {status}"):
        push(there, plan())
    assert len(there.asked) == 1


# --- data source ---------------------------------------------------------------------------------


def test_a_data_source_of_somebody_else_is_never_touched(there: grafana_server.Grafana) -> None:
    theirs = {"uid": "burnmeter", "name": "theirs", "type": "prometheus", "version": 4}
    there.datasources["burnmeter"] = dict(theirs)

    report = push(there, with_alerts(), is_forced=True)

    assert results(report)["burnmeter"] == "kept"
    assert there.datasources["burnmeter"] == theirs


def test_our_data_source_follows_its_address_and_keeps_a_persons_edit(
    there: grafana_server.Grafana,
) -> None:
    def source(url: str) -> Plan:
        return plan(made=(), datasource=grafana_push.datasource_wanted(url))

    push(there, source("http://p:9090"))
    moved = push(there, source("http://q:9090"))
    assert there.datasources["burnmeter"]["url"] == "http://q:9090"
    there.datasources["burnmeter"]["basicAuth"] = True
    kept = push(there, source("http://r:9090"))

    assert moved.rows[1].result == "updated"
    assert kept.rows[1].result == "kept"
    assert there.datasources["burnmeter"]["url"] == "http://q:9090"


def test_a_name_that_is_taken_is_a_conflict_in_words(there: grafana_server.Grafana) -> None:
    there.datasources["x"] = {"uid": "x", "name": "Prometheus (burnmeter)"}

    report = push(there, with_alerts())

    assert "HTTP 409: data source with the same name already exists" in report.rows[1].reason


def test_alert_rules_ask_the_only_prometheus_that_there_is(there: grafana_server.Grafana) -> None:
    client = Grafana(there.url, token=TOKEN)

    assert grafana_push.datasource_uid(client, "mine", is_made=False) == "mine"
    assert grafana_push.datasource_uid(client, None, is_made=True) == "burnmeter"
    with pytest.raises(GrafanaError, match="there is none of Prometheus; name one by"):
        grafana_push.datasource_uid(client, None, is_made=False)
    there.datasources["l"] = {"uid": "l", "name": "Logs", "type": "loki"}
    there.datasources["a"] = {"uid": "a", "name": "A", "type": "prometheus"}
    assert grafana_push.datasource_uid(client, None, is_made=False) == "a"
    there.datasources["b"] = {"uid": "b", "name": "B", "type": "prometheus"}
    with pytest.raises(GrafanaError, match=r"there are a \(A\), b \(B\); name one by"):
        grafana_push.datasource_uid(client, None, is_made=False)


# --- alert rules ---------------------------------------------------------------------------------


def any_rule(there: grafana_server.Grafana) -> dict[str, Any]:
    return next(iter(there.rules.values()))


def test_rules_can_be_edited_by_people_and_their_groups_have_our_interval(
    there: grafana_server.Grafana,
) -> None:
    push(there, with_alerts())

    sent = [
        headers.get("X-Disable-Provenance")
        for asked, headers in zip(there.asked, there.headers, strict=True)
        if asked.startswith(("POST /v1", "PUT /v1"))
    ]
    assert set(sent) == {"true"}
    assert set(there.intervals.values()) == {30}


def test_a_rule_that_a_person_has_edited_stays_until_it_is_forced(
    there: grafana_server.Grafana,
) -> None:
    push(there, with_alerts())
    rule = any_rule(there)
    rule["isPaused"] = True

    kept, forced = push(there, with_alerts()), push(there, with_alerts(), is_forced=True)

    assert results(kept)[rule["uid"]] == "kept"
    assert results(forced)[rule["uid"]] == "overwritten"
    assert there.rules[rule["uid"]]["isPaused"] is False


def test_a_rule_that_is_saved_between_the_look_and_the_push_stays(
    there: grafana_server.Grafana,
) -> None:
    push(there, with_alerts())
    rule = any_rule(there)
    rule["isPaused"] = True
    there.scripts.append(
        Script(
            *("GET", f"{ALERT_RULES}/{rule['uid']}"),
            before=lambda: rule.update({"title": "A person's"}),
            times=1,
        )
    )

    report = push(there, with_alerts(), is_forced=True)

    assert results(report)[rule["uid"]] == "failed"
    assert "was changed since it was read" in reason(report, rule["uid"])
    assert rule["title"] == "A person's"


def test_rules_of_people_in_our_groups_stay_and_so_does_their_interval(
    there: grafana_server.Grafana,
) -> None:
    name = "burnmeter-engines"
    theirs = {"uid": "theirs", "title": "Theirs", "ruleGroup": name, "folderUID": "burnmeter"}
    there.rules["theirs"], there.intervals[name] = theirs, 120

    report = push(there, with_alerts())

    assert report.is_fine
    assert there.rules["theirs"] == theirs
    assert there.intervals.pop(name) == 120
    assert set(there.intervals.values()) == {30}


def test_a_rule_of_other_provisioning_is_left_and_said(there: grafana_server.Grafana) -> None:
    push(there, with_alerts())
    rule = any_rule(there)
    rule |= {"provenance": "file", "for": "7m"}

    report = push(there, with_alerts(), is_forced=True)

    assert results(report)[rule["uid"]] == "kept"
    assert "from `file` provisioning" in reason(report, rule["uid"])


def test_a_rule_for_no_objective_any_more_is_named_and_not_removed(
    there: grafana_server.Grafana,
) -> None:
    push(there, with_alerts())
    fewer = Plan(boards=(), groups=with_alerts().groups[:-1])

    report = push(there, fewer)

    assert report.is_fine
    assert len(report.notes) == len(with_alerts().groups[-1].rules)
    assert "is of no objective any more; remove it" in report.notes[0]


def test_an_interval_that_cannot_be_set_is_a_failure_of_its_group(
    there: grafana_server.Grafana,
) -> None:
    there.refuses("PUT", "/v1/provisioning/folder/.*", 500, {"message": "no"}, times=1)

    report = push(there, with_alerts())

    assert [row.uid for row in report.rows if row.result == "failed"] == ["burnmeter-engines"]
    assert "its interval is not 30 s" in report.rows[-1].reason


def test_rules_that_cannot_be_read_fail_and_hide_no_dashboard(
    there: grafana_server.Grafana,
) -> None:
    there.refuses("GET", ALERT_RULES, 403, {"message": "Access denied"})

    report = push(there, plan(groups=with_alerts().groups))

    assert results(report)["fleet"] == "created"
    assert "failed" in results(report).values()
    assert there.rules == {}
