"""Fixtures for every test. Doubles live in tests/fakes.py, real parts in tests/parts.py."""

import subprocess
from pathlib import Path

import pytest

from tests import parts

pytest_plugins = ("tests.nvml",)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "rewrite the expected files with what came out; the diff is the review"
    parser.addoption("--accept", action="store_true", help=text)


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite an expected file instead of comparing with it."""
    return bool(request.config.getoption("--accept"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate for 127.0.0.1 in one file."""
    openssl = parts.program("openssl", package="openssl")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ("-subj", "/CN=burnmeter test", "-addext", "subjectAltName=IP:127.0.0.1")
    kind = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = (openssl, *kind, *subject, "-days", "2", "-keyout", file, "-out", f"{file}.crt")
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file
