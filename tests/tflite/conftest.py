"""Fixtures: the tiny classifier and its export."""

from exported import exported, pictures, run, tiny_model  # noqa: F401
