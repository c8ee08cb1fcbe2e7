"""Evaluation: counts, figures and the files that they are written to."""
