"""Experiments: scheduling policies compared on simulated clusters, in virtual time."""
