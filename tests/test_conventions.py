"""How times, texts and numbers stand in PromQL."""

import pytest

from burnmeter.provision.conventions import duration, number, quoted


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(30, "30s"), (90, "90s"), (120, "2m"), (3600, "1h"), (5400, "90m"), (259200, "3d")],
)
def test_a_duration_has_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_text_cannot_end_its_quotes() -> None:
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_a_number_has_no_noise_of_binary() -> None:
    assert number(1 - 0.999) == "0.001"
    assert number(14.4) == "14.4"
    assert number(30.0) == "30"
