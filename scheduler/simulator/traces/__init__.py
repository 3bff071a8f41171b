"""Recorded traces: what clusters and their pods were, read from files."""
