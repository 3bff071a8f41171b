"""A cluster in memory: virtual time, nodes, kubelets, true usage and faults."""
