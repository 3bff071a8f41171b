"""What the objects of the cluster say, under kube-state-metrics' names and labels.

So that dashboards and alerts made for it serve the simulated cluster, too. Where kube-state-metrics
writes a line for every value that a status might have (reasons, QoS classes), this one writes the
value that it has; phases and conditions are written in full.
"""
