"""Fixtures: the tiny classifier as a run, and its export."""

from exported import exported, pictures, run, tiny_model  # noqa: F401
