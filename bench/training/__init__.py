"""Compares training with pycoll with PyTorch's DistributedDataParallel over Gloo."""
