"""How long, until when, by which token: what is taken and what is refused."""

from pathlib import Path

import click
import pytest

from burnmeter.command_words import Moment, Span, TokenError, token_in, token_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("30d", 2592000), ("1w", 604800)],
)
def test_a_length_of_time_is_in_seconds(text: str, seconds: float) -> None:
    assert Span(1.0).convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "-5m", "1.5h", "30mm", "5y"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no length of time; write one like 30d"):
        Span(1.0).convert(text, None, None)


def test_a_moment_needs_a_zone() -> None:
    assert Moment().convert("2026-11-01T12:00:00Z", None, None) == 1793534400.0
    assert Moment().convert("1793534400.5", None, None) == 1793534400.5
    with pytest.raises(click.BadParameter, match="names no zone"):
        Moment().convert("2026-11-01T12:00:00", None, None)


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")

    assert token_in(tmp_path / "token") == "secret"
    assert token_in(None) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "holds no token"), (b"\xff", "is no text of a token"), (b"a\nb", "holds no token")],
)
def test_what_is_no_token_is_refused(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(TokenError, match=text):
        token_in(tmp_path / "token")


def test_a_token_may_come_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "secret\n")
    monkeypatch.setenv("NO_TOKEN", "")

    assert token_of("A_TOKEN") == "secret"
    assert token_of("NO_TOKEN") is None
    assert token_of("NEVER_SET_TOKEN") is None


def test_an_error_about_a_token_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "hunter2 and\nmore")

    with pytest.raises(TokenError) as caught:
        token_of("A_TOKEN")

    assert str(caught.value) == "A_TOKEN: holds no token"
