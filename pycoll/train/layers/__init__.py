"""Model layers with explicit forward and backward functions; `layer` holds the protocol."""
