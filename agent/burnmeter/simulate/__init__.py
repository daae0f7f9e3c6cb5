"""A simulated node that speaks real dialects; it ships with the program and never runs unasked."""
