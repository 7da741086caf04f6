"""ROS 2 nodes and commands around :mod:`dreamif_model`."""
