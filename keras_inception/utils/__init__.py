"""Helpers that know nothing about networks: files, processes, checks, messages."""
