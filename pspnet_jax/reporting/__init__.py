"""Reports of a run: console, metrics.jsonl and TensorBoard."""
