"""Fixtures for every test. Doubles live in tests/fakes.py, real parts in tests/parts.py."""
