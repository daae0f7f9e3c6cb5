"""Engines as data: one YAML file per serving engine, and the loader that checks them."""
