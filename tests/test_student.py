"""Student's t against the table that every book prints (to three decimals)."""

import pytest

from burnmeter.provision import student

TABLE = {
    # Degrees of freedom: one-sided 0.90, 0.95, 0.975, 0.99, 0.995, 0.999.
    1: (3.078, 6.314, 12.706, 31.821, 63.657, 318.309),
    2: (1.886, 2.920, 4.303, 6.965, 9.925, 22.327),
    5: (1.476, 2.015, 2.571, 3.365, 4.032, 5.893),
    10: (1.372, 1.812, 2.228, 2.764, 3.169, 4.144),
    19: (1.328, 1.729, 2.093, 2.539, 2.861, 3.579),
    29: (1.311, 1.699, 2.045, 2.462, 2.756, 3.396),
    60: (1.296, 1.671, 2.000, 2.390, 2.660, 3.232),
    120: (1.289, 1.658, 1.980, 2.358, 2.617, 3.160),
}
PROBABILITIES = (0.90, 0.95, 0.975, 0.99, 0.995, 0.999)


@pytest.mark.parametrize("degrees", TABLE)
def test_quantiles_are_those_of_the_table(degrees: int) -> None:
    found = [round(student.quantile(one, degrees), 3) for one in PROBABILITIES]

    assert found == pytest.approx(TABLE[degrees], abs=5e-4)


def test_one_half_is_zero() -> None:
    assert student.quantile(0.5, 7) == pytest.approx(0.0, abs=1e-9)


def test_many_degrees_are_the_normal_distribution() -> None:
    assert student.quantile(0.975, 10_000_000) == pytest.approx(1.959964, abs=1e-5)


def test_tails_beyond_the_table_are_found() -> None:
    # By the closed form for one degree: tan(pi * (p - 1/2)).
    assert student.quantile(1 - 1e-6, 1) == pytest.approx(318309.886, rel=1e-6)
