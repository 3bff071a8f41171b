"""The controllers of a cluster, over the store: what kube-controller-manager does."""
