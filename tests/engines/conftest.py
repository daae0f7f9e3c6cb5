"""One running engine of each kind for the whole test run, and never two vLLMs at once.

vLLM takes 15 seconds to start, so tests that want it with the same flags run one after the other
and share it, and whoever wants other flags ends the one before.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engines.serving import Server, llamacpp_server, vllm_server

VARIETIES = {
    "vllm": ("tiny", ()),
    "vllm_mid": ("mid", ()),
    "vllm_narrow": ("mid", ("--max-num-seqs", "1", "--max-num-queued-reqs", "4")),
    "no_vllm": ("", ()),
}
"""Fixture -> size of the model and flags, in the order in which their tests run."""


class House:
    """Where at most one vLLM lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._server: Server | None = None
        self._flags: tuple[str, ...] = ()

    def serve(self, *flags: str, size: str, port: int | None = None) -> Server:
        """The vLLM with these flags: the one that lives here, or another in its place."""
        if self._server is None or self._flags != (size, *flags):
            self.empty()
            start = vllm_server(self._folder, *flags, size=size, port=port)
            self._server = self._stack.enter_context(start)
            self._flags = size, *flags
        return self._server

    def empty(self) -> None:
        """End whatever lives here, by SIGTERM."""
        self._server = None
        self._stack.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a vLLM stand together, last; all others keep their place."""
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
    """The place of the only vLLM."""
    found = House(tmp_path_factory.mktemp("vllm"))
    yield found
    found.empty()


def _serve(house: House, name: str) -> Server:
    size, flags = VARIETIES[name]
    return house.serve(*flags, size=size)


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
    """No vLLM runs: for tests that start their own and end it."""
    house.empty()
