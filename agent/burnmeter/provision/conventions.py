"""Every name that our rules give and read, and how a length of time is written there.

What Sloth has a name for is called as Sloth calls it, labels too, so that dashboards made for Sloth
work: its service is our model. The rest begins with `slo:` as well.
"""

from typing import Final

VALID: Final = "burnmeter_slo_valid_total"
GOOD: Final = "burnmeter_slo_good_total"

VALID_INCREASE: Final = "slo:sli_valid:increase"
BAD_INCREASE: Final = "slo:sli_bad:increase"
"""What is certainly bad: a rule pages on nothing else. A window's word follows."""
BAD_UPPER_INCREASE: Final = "slo:sli_bad_upper:increase"
"""What may be bad: the threshold lies between two buckets, or witnesses disagree."""
ERROR_RATIO: Final = "slo:sli_error:ratio_rate"
ERROR_UPPER_RATIO: Final = "slo:sli_error_upper:ratio_rate"
OBJECTIVE: Final = "slo:objective:ratio"
BUDGET: Final = "slo:error_budget:ratio"
PERIOD_DAYS: Final = "slo:time_period:days"
BURN: Final = "slo:current_burn_rate:ratio"
PERIOD_BURN: Final = "slo:period_burn_rate:ratio"
BUDGET_LEFT: Final = "slo:period_error_budget_remaining:ratio"
INFO: Final = "sloth_slo_info"
BURN_IN: Final = "slo:alert_burn_in:error_ratio"

SEVERITIES: Final = ("page", "ticket")
WINDOW_LABEL: Final = "sloth_window"


def duration(seconds: float) -> str:
    """As Prometheus writes it, in the largest unit that fits: 300 -> `5m`, 259200 -> `3d`."""
    for size, word in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{word}"
    return f"{seconds:.0f}s"


def quoted(text: str) -> str:
    """A label's value as a string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def number(value: float) -> str:
    """A constant without the noise of binary: 0.0009999999999999 is 0.001."""
    return f"{value:.12g}"
