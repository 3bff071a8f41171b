"""This scheduler as an HTTP extender of kube-scheduler: its verdicts, for pods that are not ours.

``wire`` has upstream's types, ``reading`` reads questions, ``answers`` asks a profile's plugins,
and ``routes`` serves.
"""
