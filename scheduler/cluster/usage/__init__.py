"""Who says what nodes use: collector, metrics.k8s.io, Prometheus, load-watcher; one interface."""
