"""A model's config.json -> bytes and operations of one decode step. Pure.

It knows no GPU: over how many the bytes are spread, and how fast one is, is for the roofline.
"""

from burnmeter.model_facts.facts import ModelFacts, Span, model_facts
from burnmeter.model_facts.stated import stated_facts

__all__ = ["ModelFacts", "Span", "model_facts", "stated_facts"]
