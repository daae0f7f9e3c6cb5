"""Who has a say in what a GPU costs, in which order, and what an owned one comes to."""

import pytest

from burnmeter import pricing
from burnmeter.config_prices import LabelPrice, Owned, Prices, TokenPrices
from burnmeter.pricing import Price

# Names as NVML gives them.
H100 = "NVIDIA H100 80GB HBM3"
A100_80 = "NVIDIA A100-SXM4-80GB"
LISTED = Prices(gpu_dollars_per_hour={"H100": 2.5, "A100": 1.0, "A100 80GB": 1.5, H100: 9.0})


def per_hour(name: str, *books: Prices, **labels: str) -> float | None:
    found = pricing.price(name, books or (Prices(),), labels)
    return found.dollars_per_hour if found is not None else None


@pytest.mark.parametrize(
    ("name", "dollars"),
    [
        pytest.param(H100, 9.0, id="the exact name wins"),
        pytest.param("NVIDIA H100 PCIe", 2.5, id="one word is enough"),
        pytest.param(A100_80, 1.5, id="the entry with more words wins"),
        pytest.param("NVIDIA GB300", None, id="what is not listed anywhere has no price"),
    ],
)
def test_a_listed_gpu_is_found_by_its_words(name: str, dollars: float | None) -> None:
    assert per_hour(name, LISTED) == dollars


def test_a_default_of_the_config_is_asked_before_the_shipped_list() -> None:
    assert per_hour(H100, Prices(default_gpu_dollars_per_hour=2.0)) == 2.0
    assert per_hour(H100) == 3.5


def test_a_price_of_zero_is_a_price() -> None:
    free = Prices(gpu_dollars_per_hour={"H100": 0.0}, default_gpu_dollars_per_hour=2.0)

    assert per_hour(H100, free) == 0.0
    assert per_hour(A100_80, Prices(default_gpu_dollars_per_hour=0.0)) == 0.0


def test_a_slice_is_not_priced_as_a_whole_gpu() -> None:
    slice_name = f"{H100} MIG 1g.10gb"

    assert per_hour(slice_name) is None
    assert per_hour(slice_name, Prices(gpu_dollars_per_hour={"H100 MIG 1g.10gb": 0.4})) == 0.4


def test_a_label_of_the_node_is_asked_before_the_gpu_s_name() -> None:
    """The same GPU costs less on a spot node."""
    spot = LabelPrice(label="lifecycle", value="spot", gpu_dollars_per_hour=1.1)
    book = Prices(gpu_dollars_per_hour={"H100": 2.5}, by_node_label=(spot,))

    assert per_hour(H100, book, lifecycle="spot") == 1.1
    assert per_hour(H100, book, lifecycle="on-demand") == 2.5
    assert per_hour(H100, book) == 2.5


def test_the_file_of_prices_is_asked_before_all_that_the_config_says() -> None:
    config = Prices(by_node_label=(LabelPrice(label="pool", value="a", gpu_dollars_per_hour=1.0),))

    assert per_hour(H100, Prices(gpu_dollars_per_hour={"H100": 4.0}), config, pool="a") == 4.0
    assert per_hour(A100_80, Prices(gpu_dollars_per_hour={"H100": 4.0}), config, pool="a") == 1.0


def test_a_price_says_whose_word_it_is() -> None:
    spot = LabelPrice(label="pool", value="a", gpu_dollars_per_hour=1.0)
    config = Prices(gpu_dollars_per_hour={"H100": 2.0}, default_gpu_dollars_per_hour=0.5)
    file = Prices(gpu_dollars_per_hour={"A100": 1.5}, by_node_label=(spot,))

    def said(name: str, *books: Prices, **labels: str) -> str:
        found = pricing.price(name, books, labels)
        return found.source if found is not None else "nobody"

    assert said(A100_80, file, config) == "the file of prices, by the GPU's name"
    assert said(A100_80, file, config, pool="a") == "the file of prices, by the node label pool=a"
    assert said(H100, file, config) == "the config, by the GPU's name"
    assert said("NVIDIA GB300", file, config) == "the config, by its default"
    assert said(H100, Prices()) == "the shipped list of 2026-11"
    assert said("NVIDIA GB300", Prices()) == "nobody"


def test_an_owned_gpu_costs_its_capital_over_its_life_and_what_its_power_costs() -> None:
    """Worked by hand: 35,064 dollars over 4 years of 365.25 days are 1 dollar an hour."""
    owned = Owned(capital_dollars=35_064.0, lifetime_years=4.0, overhead_dollars_per_hour=0.25)
    book = Prices(
        owned={"H100": owned},
        electricity_dollars_per_kilowatt_hour=0.10,
        power_usage_effectiveness_ratio=1.3,
    )

    found = pricing.price(H100, (book,), {})

    assert found is not None
    # 700 W for an hour are 0.7 kWh at the meter of the GPU, 0.91 at that of the building.
    assert found.dollars(3600.0, 700.0 * 3600.0) == pytest.approx(1.25 + 0.91 * 0.10, rel=1e-12)
    assert found.dollars(3600.0, None) == pytest.approx(1.25, rel=1e-12)
    cost = "what it cost: 35064 dollars over 4 years, 0.25 an hour overhead"
    assert found.source == f"{cost}, and power at 0.1 dollars per kWh x 1.3 (PUE)"
    assert found.text == f"1.25 dollars an hour and 0.13 dollars per kWh by {found.source}"


def test_an_owned_gpu_whose_power_nobody_priced_says_so() -> None:
    book = Prices(owned={"H100": Owned(capital_dollars=8766.0, lifetime_years=1.0)})

    found = pricing.price(H100, (book,), {})

    assert found == Price(1.0, 0.0, "what it cost: 8766 dollars over 1 years, without power")
    assert found.text == f"1 dollars an hour by {found.source}"


def test_of_a_price_for_people_what_adds_nothing_is_left_out() -> None:
    """Neither overhead nor PUE; power that is free is still said to be in it."""
    owned = {"H100": Owned(capital_dollars=8766.0, lifetime_years=1.0)}

    free = pricing.price(H100, (Prices(owned=owned, electricity_dollars_per_kilowatt_hour=0),), {})
    rented = pricing.price(H100, (Prices(gpu_dollars_per_hour={"H100": 2.5}),), {})

    cost = "what it cost: 8766 dollars over 1 years, and power at 0 dollars per kWh"
    assert free is not None
    assert free.text == f"1 dollars an hour by {cost}"
    assert rented is not None
    assert rented.text == "2.5 dollars an hour by the config, by the GPU's name"


def test_power_is_priced_by_whoever_prices_it_first() -> None:
    """The file that is reread may have the tariff alone."""
    tariff = Prices(electricity_dollars_per_kilowatt_hour=0.36)
    owned = Prices(
        owned={"H100": Owned(capital_dollars=8766.0, lifetime_years=1.0)},
        electricity_dollars_per_kilowatt_hour=0.10,
    )

    found = pricing.price(H100, (tariff, owned), {})

    assert found is not None
    assert found.dollars_per_joule == pytest.approx(1e-7)


@pytest.mark.parametrize(
    ("file", "config", "per_kilowatt_hour"),
    [
        pytest.param((0.2, None), (None, 1.5), 0.3, id="the file has the tariff"),
        pytest.param((None, 1.5), (0.2, None), 0.3, id="the file has the PUE"),
        pytest.param((0.4, None), (0.2, 1.5), 0.6, id="the file has a newer tariff"),
        pytest.param((None, 2.0), (0.2, 1.5), 0.4, id="the file has a newer PUE"),
        pytest.param((None, 1.0), (0.2, 1.5), 0.2, id="the file says that there is none"),
        pytest.param((None, None), (0.2, None), 0.2, id="nobody says a PUE"),
        pytest.param((None, None), (None, 1.5), 0.0, id="nobody says a tariff"),
    ],
)
def test_power_and_pue_are_each_by_whoever_says_it_first(
    file: tuple[float | None, float | None],
    config: tuple[float | None, float | None],
    per_kilowatt_hour: float,
) -> None:
    owned = {"H100": Owned(capital_dollars=8766.0, lifetime_years=1.0)}
    books = [
        Prices(
            owned=owned,
            electricity_dollars_per_kilowatt_hour=dollars,
            power_usage_effectiveness_ratio=ratio,
        )
        for dollars, ratio in (file, config)
    ]

    found = pricing.price(H100, books, {})

    assert found is not None
    assert found.dollars_per_joule * 3.6e6 == pytest.approx(per_kilowatt_hour, rel=1e-12)


def test_a_model_s_tokens_have_the_price_of_the_first_that_names_it() -> None:
    cheap, dear = (TokenPrices(generated_dollars_per_million_tokens=value) for value in (0.5, 2.0))
    books = (Prices(tokens={"a": cheap}), Prices(tokens={"a": dear, "b": dear}))

    assert pricing.tokens("a", books) is cheap
    assert pricing.tokens("b", books) is dear
    assert pricing.tokens("c", books) is None
