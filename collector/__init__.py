"""Collector: watches a cluster, keeps seven days of it, and answers "what is and what was".

``samples`` and ``windows`` are pure; ``store`` and ``sources`` do I/O; ``contract`` is what others
may rely on; ``api`` serves it. Start reading at ``__main__``.
"""
