"""Arrays to compare with torch, and how closely they agree."""

import jax
import numpy as np
import pytest

RULES = pytest.mark.parametrize('align_corners', [True, False])
BINS = (1, 2, 3, 6)
EPS = {np.float32: 1e-6, np.float64: 1e-14}


def draw(*shape, dtype=np.float64, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def error(ours, theirs) -> float:
  """Largest difference relative to the largest value."""
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)


def precision(dtype):
  return jax.enable_x64(dtype is np.float64)
