"""The file of prices: reread when it changes, and what it said last stands while it is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from burnmeter.config_prices import Owned, Prices, parse_file
from burnmeter.located import LIMIT_BYTES
from burnmeter.model import Failure
from burnmeter.sources.price_file import PriceFile, PriceReading, problems

CHEAP = "gpu_dollars_per_hour: {H100: 2.5}\n"
DEAR = "gpu_dollars_per_hour: {H100: 3.5}\n"
STANDS = "the prices that it had stand"
CONFIGS = "prices are the config's until it can be read"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file, in a folder of its own."""
    found = tmp_path / "mounted" / "prices.yaml"
    found.parent.mkdir()
    found.write_text(CHEAP)
    return found


def dollars(reading: PriceReading) -> float:
    """What an H100 costs by a reading that is good."""
    assert reading.failure is None
    assert reading.prices is not None
    return reading.prices.gpu_dollars_per_hour["H100"]


# --- a good file ---------------------------------------------------------------------------------


def test_a_file_is_read_at_once(path: Path) -> None:
    source = PriceFile(str(path))
    first, second = source.read(), source.read()
    source.close()

    assert dollars(first) == 2.5
    assert first.duration_seconds >= 0.0
    assert second.at_seconds >= first.at_seconds


def test_an_unchanged_file_is_told_again_and_not_parsed_again(path: Path) -> None:
    source = PriceFile(str(path))

    first, second = source.read(), source.read()

    assert dollars(second) == 2.5
    assert second.prices is first.prices


def test_a_file_of_warnings_alone_counts(path: Path) -> None:
    path.write_text(f"{CHEAP}electricity_dollars_per_kilowatt_hour: 0.2\n")

    assert dollars(PriceFile(str(path)).read()) == 2.5


def test_a_file_may_say_that_nothing_has_a_price_of_its_own(path: Path) -> None:
    source = PriceFile(str(path))
    source.read()

    path.write_text("{}\n")
    reading = source.read()

    assert reading.failure is None
    assert reading.prices == Prices()


PUE = Prices(power_usage_effectiveness_ratio=1.5)
OWNED = Prices(owned={"H100": Owned(capital_dollars=1, lifetime_years=1)})
TARIFF = Prices(electricity_dollars_per_kilowatt_hour=0.2)
OWNED_TEXT = b"\nowned: {H100: {capital_dollars: 1, lifetime_years: 1}}"
TARIFF_TEXT = b"\nelectricity_dollars_per_kilowatt_hour: 0.2"
NO_POWER = "without electricity_dollars_per_kilowatt_hour power is not in the cost"
NO_OWNED = "is for owned GPUs only, and none is; a rent has power in it"


@pytest.mark.parametrize(
    ("text", "config", "says"),
    [
        pytest.param(OWNED_TEXT, TARIFF, None, id="the config has the tariff"),
        pytest.param(TARIFF_TEXT, OWNED, None, id="the config has the GPUs"),
        pytest.param(OWNED_TEXT + TARIFF_TEXT, PUE, None, id="the file has both"),
        pytest.param(OWNED_TEXT, PUE, f"2:8: warning: owned: {NO_POWER}", id="no tariff"),
        pytest.param(
            b"{}", OWNED, f"1:1: warning: prices.owned: {NO_POWER}", id="no tariff at all"
        ),
        pytest.param(
            TARIFF_TEXT,
            PUE,
            f"2:40: warning: electricity_dollars_per_kilowatt_hour: {NO_OWNED}",
            id="no owned GPU",
        ),
    ],
)
def test_what_belongs_together_may_be_half_in_the_file_and_half_in_the_config(
    text: bytes, config: Prices, says: str | None
) -> None:
    prices, problems = parse_file(text, "f", config)

    assert prices is not None
    assert [str(one) for one in problems] == ([f"f:{says}"] if says is not None else [])


# --- a file that changes -------------------------------------------------------------------------


def test_what_is_written_into_the_file_counts(path: Path) -> None:
    source = PriceFile(str(path))
    source.read()

    path.write_text(f"# As of today.\n{DEAR}")

    assert dollars(source.read()) == 3.5


def test_another_file_in_its_place_counts_though_it_looks_alike(path: Path) -> None:
    source = PriceFile(str(path))
    source.read()
    was = path.stat()
    other = path.with_name("prices.new")
    other.write_text(DEAR)
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))

    other.replace(path)

    assert path.stat().st_size == was.st_size
    assert dollars(source.read()) == 3.5


def test_a_copy_that_keeps_the_date_and_the_size_counts(path: Path) -> None:
    """As `cp -p` and `rsync --inplace -t` leave it."""
    source = PriceFile(str(path))
    source.read()
    was = path.stat()

    path.write_text(DEAR)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    while path.stat().st_ctime_ns == was.st_ctime_ns:  # Kernels count in steps of some ms.
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    assert dollars(source.read()) == 3.5


def test_a_config_map_that_is_swapped_counts(tmp_path: Path) -> None:
    """Kubernetes turns one link, from one folder of files to the next."""
    for version, text in (("..1", CHEAP), ("..2", DEAR)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "prices.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "prices.yaml").symlink_to("..data/prices.yaml")
    source = PriceFile(str(tmp_path / "prices.yaml"))
    before = source.read()

    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    assert dollars(before) == 2.5
    assert dollars(source.read()) == 3.5


# --- a file that is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            b"gpu_dollars_per_hour: {H100: cheap}\n",
            ":1:30: gpu_dollars_per_hour.H100: `cheap` is text; write a number from 0 to 1000",
            id="one mistake",
        ),
        pytest.param(
            b"\ntoken: 1\ngpus: 2\nfile: /x\n",
            ":2:1: unknown key `token`; did you mean `tokens`? (and 2 more)",
            id="three mistakes",
        ),
        pytest.param(
            b"electricity_dollars_per_kilowatt_hour: 0.2\ntoken: {}\n",
            ":2:1: unknown key `token`; did you mean `tokens`?",
            id="a warning before the mistake",
        ),
        *(
            pytest.param(
                text,
                ":1:1: the file is empty; write `{}` if nothing has a price of its own",
                id=f"emptied: {text!r}",
            )
            for text in (b"", b" \n\n", b"# Being written.\n", b"\xef\xbb\xbf", b"null")
        ),
        pytest.param(
            b"tokens: [1",
            ":1:9: not valid YAML: what begins here is never closed, as by `]` or `}`",
            id="no YAML",
        ),
        pytest.param(
            b"\xff",
            ":1:1: byte 0xff is not UTF-8; save the file as UTF-8 text",
            id="no text",
        ),
        pytest.param(
            b"#" * (LIMIT_BYTES + 1),
            f":1:1: the file has more than {LIMIT_BYTES} bytes, the most that are read",
            id="too long",
        ),
    ],
)
def test_a_file_that_becomes_wrong_keeps_its_prices_and_says_where(
    path: Path, text: bytes, says: str
) -> None:
    source = PriceFile(str(path))
    before = source.read()

    path.write_bytes(text)
    reading, later = source.read(), source.read()

    assert reading.failure == Failure("invalid", f"{path}{says}; {STANDS}")
    assert later.failure == reading.failure
    assert reading.prices is later.prices is before.prices


def test_a_file_as_long_as_the_limit_is_read(path: Path) -> None:
    path.write_text(CHEAP + "#" * (LIMIT_BYTES - len(CHEAP)))

    assert dollars(PriceFile(str(path)).read()) == 2.5


def test_a_file_that_is_wrong_from_the_start_leaves_the_configs_prices(path: Path) -> None:
    path.write_text("gpus: 1\n")

    reading = PriceFile(str(path)).read()

    assert reading.prices is None
    assert reading.failure is not None
    assert reading.failure.kind == "invalid"
    assert reading.failure.message.startswith(f"{path}:1:1: unknown key `gpus`")
    assert reading.failure.message.endswith(f"; {CONFIGS}")


@pytest.mark.parametrize("before", [CHEAP, "gpus: 1\n"], ids=["good before", "never good"])
def test_a_file_that_is_repaired_counts(path: Path, before: str) -> None:
    source = PriceFile(str(path))
    for text in (before, "gpus: 12\n"):
        path.write_text(text)
        source.read()

    path.write_text(f"{DEAR}# repaired\n")

    assert dollars(source.read()) == 3.5


# --- a file that cannot be read ------------------------------------------------------------------


def test_a_file_that_vanishes_keeps_its_prices(path: Path) -> None:
    source = PriceFile(str(path))
    before = source.read()

    path.unlink()
    reading = source.read()

    said = f"{path}: cannot be read: No such file or directory; {STANDS}"
    assert reading.failure == Failure("gone", said)
    assert reading.prices is before.prices


def test_a_file_that_was_never_there_leaves_the_configs_prices(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"

    reading = PriceFile(str(path)).read()

    said = f"{path}: cannot be read: No such file or directory; {CONFIGS}"
    assert reading.failure == Failure("gone", said)
    assert reading.prices is None


def test_the_very_file_that_was_away_is_good_when_it_is_back(path: Path) -> None:
    """As when a volume is unmounted and mounted again."""
    source = PriceFile(str(path))
    source.read()
    away = path.parent.rename(path.parent.with_name("unmounted"))
    gone = source.read()

    away.rename(path.parent)

    assert gone.failure is not None
    assert dollars(source.read()) == 2.5


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_what_is_no_file_is_refused_at_once(path: Path, make: Callable[[Path], None]) -> None:
    source = PriceFile(str(path))
    before = source.read()
    path.unlink()
    make(path)
    open_before = len(os.listdir("/proc/self/fd"))

    reading = source.read()

    assert reading.failure is not None
    assert reading.failure.message.startswith(f"{path}: cannot be read: ")
    assert reading.prices is before.prices
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_link_that_leads_to_itself_is_told(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)

    reading = PriceFile(str(path)).read()

    said = f"{path}: cannot be read: Too many levels of symbolic links; {CONFIGS}"
    assert reading.failure == Failure("gone", said)


# --- checked with its config ---------------------------------------------------------------------


def test_all_mistakes_of_a_file_are_told_with_their_places(path: Path) -> None:
    path.write_text("gpus: 1\nowned: {H100: {capital_dollars: 1, lifetime_years: 1}}\nfile: /x\n")

    found = [str(one) for one in problems(str(path), Prices())]

    assert [one.partition(" ")[0] for one in found] == [
        f"{path}:{n}:" for n in ("1:1", "2:8", "3:1")
    ]
    assert "warning: owned: without electricity" in found[1]


def test_a_file_that_is_not_on_this_machine_is_no_mistake(tmp_path: Path) -> None:
    (problem,) = problems(str(tmp_path / "none.yaml"), Prices())

    said = "cannot be read: No such file or directory; prices are the config's until it can be read"
    assert str(problem) == f"{tmp_path}/none.yaml:1:1: warning: {said}"


def test_a_folder_in_its_place_is_a_mistake(tmp_path: Path) -> None:
    (problem,) = problems(str(tmp_path), Prices())

    assert not problem.is_warning
    assert problem.text.startswith("cannot be read: Is a directory; ")
