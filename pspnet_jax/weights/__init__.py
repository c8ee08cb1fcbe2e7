"""Published checkpoints of other implementations: reading, converting, writing."""
