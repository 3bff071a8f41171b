"""Placing pods on nodes with shared GPUs: pure formulas over columns of nodes.

Read in this order: :mod:`~scheduler.plugins.gpu.columns` (nodes, pods, what fits),
:mod:`~scheduler.plugins.gpu.cards` (which cards of a node), then the scores,
:mod:`~scheduler.plugins.gpu.fragmentation` first, and :mod:`~scheduler.plugins.gpu.policies`, which
puts scores and choices of cards together under a name.

The measure of fragmentation and the policy FGD are those of Weng et al., "Beware of Fragmentation:
Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023; the other
published policies are what they compared it with, as their experiments configured them. Formulas
are to the letter, the order of floating-point sums included: with the same arrivals they make the
same placements.
"""
