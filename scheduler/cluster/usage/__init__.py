"""Who says what nodes use: the collector, metrics.k8s.io or Prometheus, by one interface."""
