"""Text, its vocabulary, and seeded batches of which every rank gets its shard."""
