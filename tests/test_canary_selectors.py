"""How a side and a length of time are written."""

import pytest

from burnmeter.provision.canary_selectors import last_value_as, selector


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('target="a"', 'target="a"'),
        ('{target="a"}', 'target="a"'),
        (' pod =~ "chat-.*" , model!="x", ', 'pod=~"chat-.*",model!="x"'),
        (r'target="a\"b,c=\"d"', r'target="a\"b,c=\"d"'),
        ('target="{{args.baseline}}"', 'target="{{args.baseline}}"'),
    ],
)
def test_matchers_lose_their_braces_and_spaces(text: str, found: str) -> None:
    assert selector(text) == found


@pytest.mark.parametrize("text", ["", "{}", "target", 'target="a', 'a="b" c="d"', 'le="1"', "1"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write one like|says what is counted"):
        selector(text)


def test_the_last_value_makes_room() -> None:
    assert last_value_as('model="m",pod=~"a-.*"', "X") == ('model="m",pod=~"X"', "a-.*")
