"""A page that stands still while its GPUs work, and a health page that says no: nobody is believed
or called good for it, and nobody is called stalled who only sleeps."""

from dataclasses import replace

from burnmeter.model import Checkup
from burnmeter.watch import STALE
from tests.fakes import gpu, objective, processes, reading, vllm
from tests.test_pipeline import A, B, Node

TABLE = processes((10, 1), (20, 1))
WORKING, RESTING = 0.9, 0.1


def kinds(node: Node) -> list[str]:
    return [event.kind for event in node.state.events]


def watch(node: Node, ticks: int, ratio: float | None, *pids: int, tokens: float = 5.0) -> None:
    """So many ticks at which the page says the same and the GPU is used so much."""
    board = replace(gpu("GPU-0", *(pids or (10,))), utilisation_ratio=ratio)
    for _ in range(ticks):
        node.tick({A: vllm(tokens=tokens)}, gpus=[board], table=TABLE)


def test_a_page_that_stands_still_while_its_gpu_works_is_not_believed_for_long() -> None:
    node = Node(objective("availability"), objective("errors"))
    watch(node, 2, WORKING)
    assert not node.state.watched["a"].is_stale

    watch(node, 2, WORKING)

    assert node.state.watched["a"].is_stale
    assert kinds(node) == ["up", "stale"]
    assert {kept.unmeasured for kept in node.state.kept.values()} == {f"a: {STALE}"}


def test_a_page_that_moves_again_is_believed_again() -> None:
    node = Node(objective("availability"))
    watch(node, 4, WORKING)

    watch(node, 1, WORKING, tokens=6.0)

    assert not node.state.watched["a"].is_stale
    assert kinds(node) == ["up", "stale", "fresh"]
    assert node.state.kept["availability", "llama"].unmeasured is None


def test_an_idle_engine_whose_gpu_rests_is_believed() -> None:
    node = Node()
    watch(node, 10, RESTING)

    assert not node.state.watched["a"].is_stale


def test_a_gpu_that_does_not_say_how_much_it_is_used_accuses_nobody() -> None:
    node = Node()
    watch(node, 10, None)

    assert not node.state.watched["a"].is_stale


def test_a_gpu_that_another_engine_holds_too_accuses_nobody() -> None:
    node = Node()
    board = replace(gpu("GPU-0", 10, 20), utilisation_ratio=WORKING)
    for tokens in range(10):
        pages = {A: vllm(tokens=5), B: vllm(tokens=tokens)}
        node.tick(pages, gpus=[board], table=TABLE)

    assert not any(one.is_stale for one in node.state.watched.values())


def test_a_single_busy_look_in_a_long_sleep_accuses_nobody() -> None:
    node = Node()
    watch(node, 10, RESTING)
    watch(node, 1, WORKING)

    assert not node.state.watched["a"].is_stale


# --- its own health page -------------------------------------------------------------------------

WELL = Checkup(is_well=True, is_answer=True, text="")
DEAD = Checkup(is_well=False, is_answer=True, text="/health answers HTTP 503")
SILENT = Checkup(is_well=False, is_answer=False, text="/health does not answer")


def checked(node: Node, *checkups: Checkup | None) -> list[str | None]:
    """What is wrong with it after each look with such a checkup."""
    found = []
    for checkup in checkups:
        page = vllm(tokens=node.at)
        said = reading(node.at, name="a")._replace(checkup=checkup)
        node.look({A: (said, page)})
        found.append(node.state.watched["a"].illness)
    return found


def test_an_engine_that_says_it_is_not_well_is_ill_at_once_until_it_says_otherwise() -> None:
    node = Node(objective("availability"))

    said = checked(node, WELL, DEAD, None, WELL)

    assert said == [None, DEAD.text, DEAD.text, None]
    assert kinds(node) == ["up", "sick", "well"]
    (kept,) = node.state.kept.values()
    ledger = kept.ledger
    assert (ledger[-1].valid, ledger[-1].good_lower) == (15.0, 5.0)


def test_one_silence_is_a_busy_moment_and_two_are_not() -> None:
    assert checked(Node(), SILENT, WELL, SILENT, None, SILENT) == [
        *(None, None, None, None),
        SILENT.text,
    ]
