"""Volumes: which nodes can have a pod's, and how those that are not there yet come about."""
