"""Policies learned in simulation, as a Score plugin: what they see, and how they are asked."""
