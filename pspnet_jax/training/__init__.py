"""Training: the loop, its step, losses, optimisers and where weights come from."""
