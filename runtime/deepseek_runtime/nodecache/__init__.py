"""Copies of sealed artifacts on the disks of nodes: made by one pod on each node, read by engines there."""
