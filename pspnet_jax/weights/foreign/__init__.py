"""Checkpoints of other implementations: how they are read and what their arrays are called."""
