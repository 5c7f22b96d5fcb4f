"""Models of other libraries, as layers."""
