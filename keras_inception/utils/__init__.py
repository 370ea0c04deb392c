"""Helpers that do not depend on the networks: files, processes, checks, messages."""
