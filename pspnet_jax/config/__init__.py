"""Configs: their defaults, files and checks, and the one place that builds a run from them."""
