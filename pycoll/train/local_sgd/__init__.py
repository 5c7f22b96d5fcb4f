"""Data parallelism whose ranks communicate after every few steps only."""
