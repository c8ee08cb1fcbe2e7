"""The doctor: what is in a data set, and what of it would spoil training."""
