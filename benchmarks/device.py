"""The machine: its name, the versions on it, and the most its matrix units give."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import jax
import jax.numpy as jnp
import torch

from benchmarks.timing import Program, alternate

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch')


def describe() -> dict[str, object]:
  """Device, processor, cores and versions."""
  versions = {name: importlib.metadata.version(name) for name in PACKAGES}
  return {
    'device': jax.devices()[0].device_kind,
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0)),
    'python': platform.python_version(),
    **versions,
    'torch threads': torch.get_num_threads(),
  }


def _processor() -> str:
  path = Path('/proc/cpuinfo')
  lines = path.read_text().splitlines() if path.is_file() else []
  names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
  return names[0] if names else platform.processor()


def matmul_ceiling(dtype: str, side: int | None = None) -> dict[str, float]:
  """FLOP/s of a large square product of random numbers by each library; the larger one counts."""
  on_gpu = jax.default_backend() == 'gpu'
  side = side or (8192 if on_gpu else 2048)
  a, b = (jax.random.normal(jax.random.key(i), (side, side), dtype) for i in (0, 1))
  product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=dtype))
  last: list[jax.Array] = []
  kind = getattr(torch, dtype)
  x, y = (torch.randn(side, side).to('cuda' if on_gpu else 'cpu', kind) for _ in (0, 1))

  def run() -> None:
    last[:] = [product(a, b)]

  programs = {
    'jax': Program(run, lambda: jax.block_until_ready(last)),
    'torch': Program(lambda: x @ y, torch.cuda.synchronize if on_gpu else lambda: None),
  }
  seconds = alternate(programs, rounds=5)
  return {name: 2 * side**3 / min(times) for name, times in seconds.items()}
