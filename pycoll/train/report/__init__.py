"""What a run shows: progress bar, metrics file, loss picture, text sample."""
