"""Data parallelism: every rank holds the whole model and works on its shard of the batch."""
