"""Evaluation: metrics, test-time crops, and a common interface for runs and exported files."""
