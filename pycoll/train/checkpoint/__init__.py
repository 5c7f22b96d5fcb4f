"""The state of a run on disk, and how all ranks resume from it."""
