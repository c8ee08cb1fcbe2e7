"""Compiler options for the network."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax


def for_network(platform: str, *, train: bool, dtype: str = 'float32') -> dict[str, str]:
  """Returns the options for `jax.jit` of a network that computes in `dtype`.

  `platform` is that of the devices the program is compiled for, as `jax.Device.platform` has it;
  accelerators need no options.

  XLA on CPU would undo `computed_once` and `remat`. Its usual order of operations suits many cores
  that work on different ones; the order that saves memory is as fast, as each operation keeps all
  cores busy, and inference takes a third of the memory with it. A training step would take three
  quarters, but finding the order costs 16 s more to compile a PSPNet-269's.

  XLA searches the whole program for each operation that YNNPACK computes when it loads a program
  from the cache: a PSPNet-101's step took 13 s to load, and takes 6 where Eigen computes the
  products. In float32 Eigen is as fast; in bfloat16 a step would take a fifth longer.
  """
  if platform != 'cpu':
    return {}
  options = {'xla_disable_hlo_passes': 'cse_barrier_expander'}
  if not train:
    options['xla_cpu_scheduler_type'] = 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'
  elif dtype == 'float32':
    options['xla_cpu_experimental_ynn_fusion_type'] = (
      'LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION,LIBRARY_FUSION_TYPE_REDUCE'
    )
  return known(options)


def known(options: Mapping[str, str]) -> dict[str, str]:
  """Leaves out the options that this version of XLA does not have: it is only slower without."""
  return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str) -> bool:
  try:  # XLA tells by compiling, which takes 40 ms
    jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
