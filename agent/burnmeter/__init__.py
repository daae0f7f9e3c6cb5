"""burnmeter: what every token costs, how long it took, and whose budget it burns."""

__version__ = "0.1.0"
