"""The machine: its name, the versions on it, and the most its matrix units give."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

import jax
import jax.numpy as jnp
import torch

from benchmarks.timing import Program, alternate

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'torch')


def describe() -> dict[str, object]:
  """Devices, processor, cores and versions."""
  versions = {name: importlib.metadata.version(name) for name in PACKAGES}
  first = jax.devices()[0]
  return {
    'device': first.device_kind,
    'devices': jax.device_count(),
    # It names the version of CUDA that XLA runs with on a GPU.
    'runtime': ' '.join(first.client.platform_version.split()),
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


def of_torch(platform: str) -> str:
  """PyTorch's name for the device that JAX calls `platform`.

  Raises:
    RuntimeError: where this PyTorch cannot use it.
  """
  names = {'cpu': 'cpu', 'gpu': 'cuda'}
  if platform not in names or (platform == 'gpu' and not torch.cuda.is_available()):
    raise RuntimeError(f'PyTorch {torch.__version__} cannot use this {platform}.')
  return names[platform]


def matmul_ceiling(dtype: str, side: int | None, platform: str) -> dict[str, float]:
  """FLOP/s of a large square product of random numbers by each library; the larger one counts."""
  side = side or (2048 if platform == 'cpu' else 8192)
  a, b = (jax.random.normal(jax.random.key(i), (side, side), dtype) for i in (0, 1))
  product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=dtype))
  last: list[jax.Array] = []

  def run() -> None:
    last[:] = [product(a, b)]

  programs = {'jax': Program(run, lambda: jax.block_until_ready(last))}
  with contextlib.suppress(RuntimeError):
    where = of_torch(platform)
    x, y = (torch.randn(side, side).to(where, getattr(torch, dtype)) for _ in (0, 1))
    wait = torch.cuda.synchronize if where == 'cuda' else lambda: None
    programs['torch'] = Program(lambda: x @ y, wait)
  seconds = alternate(programs, rounds=5)
  return {name: 2 * side**3 / min(times) for name, times in seconds.items()}
