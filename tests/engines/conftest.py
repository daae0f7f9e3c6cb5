"""One running engine of each kind for the whole test run, and never two heavy ones at once.

vLLM and SGLang take 15 and 20 seconds to start, so tests that want one with the same flags run one
after the other and share it, and whoever wants another ends the one before.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engines.serving import Server, llamacpp_server, sglang_server, vllm_server

STARTS = {"vllm": vllm_server, "sglang": sglang_server}
VARIETIES = {
    "vllm": ("vllm", "tiny", ()),
    "vllm_mid": ("vllm", "mid", ()),
    "vllm_narrow": ("vllm", "mid", ("--max-num-seqs", "1", "--max-num-queued-reqs", "4")),
    "no_vllm": ("", "", ()),
    "sglang": ("sglang", "tiny", ()),
    "sglang_narrow": (
        "sglang",
        "mid",
        ("--max-running-requests", "1", "--max-queued-requests", "3"),
    ),
}
"""Fixture -> engine, size of the model and flags, in the order in which their tests run."""


class House:
    """Where at most one vLLM or SGLang lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._server: Server | None = None
        self._flags: tuple[str, ...] = ()

    def serve(
        self, *flags: str, size: str, port: int | None = None, engine: str = "vllm"
    ) -> Server:
        """The engine with these flags: the one that lives here, or another in its place."""
        if self._server is None or self._flags != (engine, size, *flags):
            self.empty()
            start = STARTS[engine](self._folder, *flags, size=size, port=port)
            self._server = self._stack.enter_context(start)
            self._flags = engine, size, *flags
        return self._server

    def empty(self) -> None:
        """End whatever lives here, by SIGTERM."""
        self._server = None
        self._stack.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a heavy engine stand together, last; all others keep their place."""
    order = list(VARIETIES)

    def place(item: pytest.Item) -> int:
        wanted = [order.index(name) for name in getattr(item, "fixturenames", ()) if name in order]
        return max(wanted, default=-1)

    items.sort(key=place)


@pytest.fixture(scope="session")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """llama.cpp with the tiny model. Shared: compare two of its pages, never one with zero."""
    with llamacpp_server(tmp_path_factory.mktemp("llamacpp")) as server:
        yield server


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The place of the only heavy engine."""
    found = House(tmp_path_factory.mktemp("house"))
    yield found
    found.empty()


def _serve(house: House, name: str) -> Server:
    engine, size, flags = VARIETIES[name]
    return house.serve(*flags, size=size, engine=engine)


@pytest.fixture
def vllm(house: House) -> Server:
    """vLLM with the tiny model. Shared: compare two of its pages, never one with zero."""
    return _serve(house, "vllm")


@pytest.fixture
def vllm_mid(house: House) -> Server:
    """vLLM with a model of 15 to 20 ms a token. Shared, as above."""
    return _serve(house, "vllm_mid")


@pytest.fixture
def vllm_narrow(house: House) -> Server:
    """vLLM that serves one at a time and refuses who finds four there. Shared, as above."""
    return _serve(house, "vllm_narrow")


@pytest.fixture
def no_vllm(house: House) -> None:
    """No heavy engine runs: for tests that start their own and end it."""
    house.empty()


@pytest.fixture
def sglang(house: House) -> Server:
    """SGLang with the tiny model. Shared, as above."""
    return _serve(house, "sglang")


@pytest.fixture
def sglang_narrow(house: House) -> Server:
    """SGLang that serves one at a time and refuses who finds three waiting. Shared, as above."""
    return _serve(house, "sglang_narrow")
