"""Published results made again: a recorded cluster is filled, and compared with what was told.

The experiment of Weng et al., "Beware of Fragmentation" (USENIX ATC 2023): pods arrive one by one
until what they ask for is 130 % of the cluster's GPU; each is placed at once or rejected for good;
none departs. What is allocated, and how much idle GPU is fragmented, is told by arrived load.
"""
