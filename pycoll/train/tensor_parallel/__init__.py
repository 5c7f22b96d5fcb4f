"""Tensor parallelism: every rank of a group holds a part of each weight matrix."""
