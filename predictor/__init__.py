"""Predictor: estimates, per node, the probability that a pod placed there now stays healthy.

``features``, ``forest``, ``scoring`` and ``evaluation`` are pure; ``registry``, ``training`` and
``feedback`` do I/O; ``contract`` is what others may rely on; ``api`` serves it. Start reading at
``__main__``.
"""
