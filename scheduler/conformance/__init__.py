"""Holds the rules here against decisions of a real kube-scheduler.

``python -m scheduler conformance FILE`` reads recorded scenarios, one JSON object a line (see
tests/data/README.md), puts each pod through the framework as through a scheduling cycle, with
kube-scheduler's default plugins, and tells where the outcome differs.
"""
