"""The state of a run on disk, written by all ranks, and how any other ranks resume from it."""
