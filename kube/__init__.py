"""The Kubernetes API as this project sees it: quantities, typed objects, a client, an informer.

No policy lives here. ``quantity`` and ``objects`` are pure; ``config``, ``client`` and ``informer``
talk to a server; ``edge`` is what every program needs at its own edge (settings, logs, problem
documents, serving), so that three programs say the same thing in the same words.
"""
