"""Procedural scenes with exact instance labels: training data, tests and `remotesam demo`."""
