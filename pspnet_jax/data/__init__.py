"""Data sources, and what happens to an example until it is in a batch."""
