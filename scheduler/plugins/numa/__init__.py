"""Pods that must find all that they ask for in one NUMA zone."""
