"""vLLM as several processes behind one page: API servers that share it, ranks that add up.

Such a page has no start time of its process and no per-process metrics; who restarted is known from
the process table alone.
"""

from pathlib import Path

import pytest

from tests.engines import load
from tests.engines.serving import free_port, vllm_server
from tests.engines.watching import Between, watching

pytestmark = [pytest.mark.engines, pytest.mark.timeout(480)]

FORMS = {
    "two-ranks": ("--data-parallel-size", "2"),
    "two-api-servers": ("--api-server-count", "2"),
}


@pytest.mark.parametrize("flags", FORMS.values(), ids=FORMS)
def test_all_ranks_and_servers_together_are_one_engine(
    no_vllm: None, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    port = free_port()
    target = f"vllm-{port}"
    with (
        vllm_server(tmp_path, *flags, port=port) as server,
        watching(tmp_path, "slos: []\n") as watch,
    ):
        before = watch.settled(target)
        asks = [*load.ok(20), *load.ok(10, is_stream=False), *load.bad_value(3)]
        truth = load.run_load(server.url, asks)
        wholes = watch.settled(target)
        dropped = load.run_load(server.url, load.aborted(4))
        after = watch.settled(target)

    found = Between(before, wholes, target)
    assert truth.requests() == {"http_400": 3, "ok": 30}
    assert found.requests() == {"ok": 30}
    assert found.requests("http") == {"rejected": 3}
    assert found.tokens() == (truth.prompt_tokens(), truth.completion_tokens())
    assert found.grown("burnmeter_ttft_seconds_count") == 30
    assert dropped.requests() == {"aborted": 4}
    # So small a model may have served a stream to its end before the engine is told of the drop.
    rest = Between(wholes, after, target)
    left = rest.requests("estimate").get("cancelled", 0.0)
    assert left + rest.requests().get("ok", 0.0) == 4
    assert after.target(target).pid == server.pid
    assert after.target(target).restarts == 0
    assert [view.target for view in after.snapshot.targets if str(port) in view.target] == [target]
