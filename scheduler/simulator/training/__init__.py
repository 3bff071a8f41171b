"""Training: policies that choose nodes, learnt in the simulator and exported for the scheduler."""
