"""Whose a process on a GPU is: of its engine, of one elsewhere, of its container, by our word."""

from dataclasses import replace

import pytest

from burnmeter.config_owners import OwnerRule
from burnmeter.model import Launch, Pod, Process
from burnmeter.owners import Kin, Owner, Tenant
from tests.fakes import process, processes

A = Tenant("a", "llama", 10, True)
B = Tenant("b", "qwen", 20, False)
TABLE = processes((10, 1), (11, 10), (12, 11), (20, 1), (21, 20), (30, 1), (31, 30), (32, 31))


def whose(pid: int, *tenants: Tenant, **kin: object) -> list[tuple[str, str, str]]:
    """(target, model, method) of whoever owns a process."""
    found = Kin(**{"processes": TABLE, "tenants": tenants, **kin}).owners(pid)  # type: ignore[arg-type]
    return [(owner.target, owner.model, owner.method) for owner in found]


@pytest.mark.parametrize("pid", [10, 11, 12], ids=["itself", "its child", "its grandchild"])
def test_a_process_belongs_to_the_engine_above_it(pid: int) -> None:
    assert whose(pid, A, B) == [("a", "llama", "process_tree")]


@pytest.mark.parametrize("pid", [30, 99], ids=["a stranger", "one that is not in the table"])
def test_what_is_below_no_engine_is_nobodys(pid: int) -> None:
    assert whose(pid, A, B) == []


def test_an_engine_without_a_process_has_none() -> None:
    assert whose(10, A._replace(pid=None)) == []


def test_the_nearest_engine_is_it_where_a_gateway_started_the_engines() -> None:
    gateway = Tenant("gateway", "llama,qwen", 30, None)
    behind = Tenant("engine", "qwen", 31, True)

    assert whose(32, gateway, behind) == [("engine", "qwen", "process_tree")]
    assert whose(30, gateway, behind) == [("gateway", "llama,qwen", "process_tree")]


def test_a_gateway_has_what_no_engine_beside_it_can_have() -> None:
    """A container with a gateway, its engine, and a worker whose parent has ended."""
    gateway = Tenant("gateway", "all", 10, False, is_gateway=True)
    inside = {pid: replace(process(pid, 1), container="c") for pid in (10, 20, 40)}

    assert whose(40, gateway, B, processes=inside) == [("b", "qwen", "container")]
    assert whose(40, gateway, processes=inside) == [("gateway", "all", "container")]
    both = gateway._replace(worker_roots=(20,))
    assert whose(21, both, B) == [("b", "qwen", "process_tree")]


def test_workers_that_something_else_started_belong_to_the_engine_that_they_work_for() -> None:
    """As under a Ray node beside the engine."""
    driver = A._replace(worker_roots=(30,))

    assert whose(32, driver) == [("a", "llama", "process_tree")]


def test_two_engines_that_share_what_starts_their_workers_cannot_be_told_apart() -> None:
    both = A._replace(worker_roots=(30,)), B._replace(worker_roots=(30,))

    assert whose(32, *both) == [("a", "llama", "process_tree"), ("b", "qwen", "process_tree")]


def test_two_pages_of_one_process_are_one_engine() -> None:
    assert whose(11, A, A._replace(target="a2")) == [("a", "llama", "process_tree")]


# --- engines that answer elsewhere ---------------------------------------------------------------


def test_a_worker_of_an_engine_on_another_node_belongs_to_its_model_by_its_command_line() -> None:
    assert whose(32, A, launches=(Launch(30, "deepseek"),)) == [("", "deepseek", "command_line")]


@pytest.mark.parametrize(
    ("told", "is_busy"),
    [((), None), ((True,), True), ((False,), False), ((None,), None), ((False, True), True)],
)
def test_it_is_as_busy_as_what_is_read_of_its_model_from_here(
    told: tuple[bool | None, ...], is_busy: bool | None
) -> None:
    heads = tuple(Tenant(f"head-{n}", "deepseek", None, busy) for n, busy in enumerate(told))
    kin = Kin(processes=TABLE, tenants=heads, launches=(Launch(30, "deepseek"),))

    assert kin.owners(32) == (Owner("", "deepseek", is_busy, "command_line"),)


def test_a_page_is_asked_before_a_command_line() -> None:
    assert whose(12, A, launches=(Launch(10, "a-path"),)) == [("a", "llama", "process_tree")]


# --- containers and pods -------------------------------------------------------------------------


def boxed(*pids: int, container: str = "c1", pod_uid: str | None = "u1") -> dict[int, Process]:
    """The table, with some of its processes in a container."""
    inside = {pid: replace(TABLE[pid], container=container, pod_uid=pod_uid) for pid in pids}
    return {**TABLE, **inside}


def test_a_process_in_the_container_of_one_engine_is_that_engines() -> None:
    assert whose(30, A, B, processes=boxed(10, 30)) == [("a", "llama", "container")]


def test_in_a_container_of_two_engines_nobody_can_tell() -> None:
    assert whose(30, A, B, processes=boxed(10, 20, 30)) == []


def test_processes_in_no_container_are_not_thereby_together() -> None:
    assert whose(30, A) == []


@pytest.mark.parametrize(
    ("pods", "pod"),
    [({"u1": Pod("prod", "chat-0")}, Pod("prod", "chat-0")), ({}, Pod("", "u1"))],
    ids=["by its name", "by its uid where no name is known"],
)
def test_a_process_says_in_which_pod_it_is(pods: dict[str, Pod], pod: Pod) -> None:
    kin = Kin(processes=boxed(30), pods=pods)

    assert kin.place(30) == pod
    assert kin.place(10) == Pod("", "")
    assert kin.place(99) == Pod("", "")


# --- the user's word -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (OwnerRule("deepseek", pod="dsv3-*"), True),
        (OwnerRule("deepseek", pod="prod/dsv3-*"), True),
        (OwnerRule("deepseek", pod="test/*"), False),
        (OwnerRule("deepseek", command="RayWorker"), True),
        (OwnerRule("deepseek", command="^raylet "), True),
        (OwnerRule("deepseek", command="vllm"), False),
        (OwnerRule("deepseek", pod="dsv3-*", command="vllm"), False),
    ],
    ids=["pod", "namespace", "other namespace", "title", "command above", "neither", "one of two"],
)
def test_a_rule_of_the_config_names_the_model_if_all_that_it_says_fits(
    rule: OwnerRule, fits: bool
) -> None:
    worker = replace(process(32, 31), title="ray::RayWorkerWrapper", pod_uid="u1")
    raylet = replace(process(31, 30), command=("raylet", "--node"))
    table = {**TABLE, 31: raylet, 32: worker}
    pods = {"u1": Pod("prod", "dsv3-7")}

    found = whose(32, A, processes=table, pods=pods, rules=(rule,))

    assert found == ([("", "deepseek", "config")] if fits else [])


def test_the_users_word_is_asked_first_and_the_first_rule_that_fits_counts() -> None:
    rules = (OwnerRule("one", command="x"), OwnerRule("two", command="y"))
    table = {**TABLE, 12: replace(TABLE[12], title="x y")}

    assert whose(12, A, processes=table, rules=rules) == [("", "one", "config")]
