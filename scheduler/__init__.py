"""Scheduler: places pods by kube-scheduler's rules, and by what the predictor has learned.

``model``, ``framework``, ``plugins``, ``queue``, ``cache`` and ``engine`` are pure: events go in,
actions come out. ``cluster`` is the shell that watches and writes to a Kubernetes API server;
``simulator`` is the other shell, in virtual time. Start reading at ``__main__``, then
``engine.Engine.handle``.
"""
