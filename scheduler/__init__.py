"""Places pods by kube-scheduler's rules and by what a model has learned of the nodes."""
