"""ROS 2 nodes and commands around :mod:`dreamif_model`."""

import os

# Threads of the network that wait for each other soon stop spinning: cameras and DDS share the
# cores. OpenMP reads this when torch is loaded; a user's own setting wins.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
