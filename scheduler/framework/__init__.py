"""The scheduling framework: kube-scheduler's extension points, asked of all nodes in one call.

``status`` and ``interface`` are the contract of a plugin, ``snapshot`` is what a plugin sees,
``checks`` tells whether it keeps the contract. ``configuration`` and ``profile`` turn upstream's
``KubeSchedulerConfiguration`` into ordered plugins, ``runtime`` runs them.
"""
