"""One running engine of each kind for the whole test run; starting vLLM takes 15 seconds."""

from collections.abc import Iterator

import pytest

from tests.engines.serving import Server, llamacpp_server, vllm_server


@pytest.fixture(scope="session")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """llama.cpp with the tiny model. Shared: compare two of its pages, never one with zero."""
    with llamacpp_server(tmp_path_factory.mktemp("llamacpp")) as server:
        yield server


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM with the tiny model. Shared: compare two of its pages, never one with zero."""
    with vllm_server(tmp_path_factory.mktemp("vllm")) as server:
        yield server
