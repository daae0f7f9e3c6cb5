"""Fixtures for every test. Doubles live in tests/fakes.py, real parts in tests/parts.py."""

import pytest

pytest_plugins = ("tests.nvml",)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "rewrite the expected files with what came out; the diff is the review"
    parser.addoption("--accept", action="store_true", help=text)


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite an expected file instead of comparing with it."""
    return bool(request.config.getoption("--accept"))
