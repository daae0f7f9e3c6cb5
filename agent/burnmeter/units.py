"""Base units, and the only conversions into them.

Inside burnmeter a number is in seconds, bytes, watts, joules, celsius, hertz, ratio (0..1), tokens,
requests, operations or dollars. Other units exist in `sources/nvml` and in dialect files, and leave
them here.
"""

from typing import Final

FACTORS: Final[dict[str, tuple[str, float]]] = {
    "seconds": ("seconds", 1.0),
    "milliseconds": ("seconds", 1e-3),
    "microseconds": ("seconds", 1e-6),
    "nanoseconds": ("seconds", 1e-9),
    "bytes": ("bytes", 1.0),
    "kibibytes": ("bytes", 1024.0),
    "mebibytes": ("bytes", 1024.0**2),
    "gibibytes": ("bytes", 1024.0**3),
    "watts": ("watts", 1.0),
    "milliwatts": ("watts", 1e-3),
    "joules": ("joules", 1.0),
    "millijoules": ("joules", 1e-3),
    "hertz": ("hertz", 1.0),
    "megahertz": ("hertz", 1e6),
    "celsius": ("celsius", 1.0),
    "ratio": ("ratio", 1.0),
    "percent": ("ratio", 1e-2),
    "tokens": ("tokens", 1.0),
    "requests": ("requests", 1.0),
    "dollars": ("dollars", 1.0),
    "blocks": ("blocks", 1.0),
    "steps": ("steps", 1.0),
    "operations": ("operations", 1.0),
    "none": ("none", 1.0),
}
"""Foreign unit -> (base unit, multiply by)."""

SECONDS_PER_HOUR: Final = 3600.0
SECONDS_PER_DAY: Final = 86400.0
TOKENS_PER_MILLION: Final = 1e6


def to_base(value: float, unit: str) -> float:
    """Convert `value` from `unit` (a key of `FACTORS`) into its base unit. Raises KeyError."""
    return value * FACTORS[unit][1]
