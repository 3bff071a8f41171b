"""Collector: watches a cluster, keeps seven days of it, and answers "what is and what was".

Pure: ``facts`` and ``samples`` read objects, ``windows`` and ``history`` sum up, ``outcomes``
judges, ``cluster_view`` is the present, and ``tracking`` turns what is seen into what is stored.
With I/O: ``sources``, ``database``, ``store`` and ``archive``; ``collecting`` ties all together.
``contract`` is what others may rely on; ``api`` serves it. Start reading at ``__main__``.
"""
