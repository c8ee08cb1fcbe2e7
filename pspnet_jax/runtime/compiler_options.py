"""What XLA is told when it compiles a network."""

from __future__ import annotations

from collections.abc import Mapping

import jax


def for_network(*, train: bool, dtype: str = 'float32') -> dict[str, str]:
  """For `jax.jit` of the network, computed in `dtype`; accelerators need none.

  XLA on CPU would undo `computed_once` and `remat`. Its order of operations is for many cores at a
  time; that which saves memory is as fast, as each operation keeps all cores busy, and inference
  needs a third of it. A training step needs three quarters, but finding the order takes time: a
  quarter of a minute more to compile a PSPNet-269's.

  For each operation that YNNPACK computes, XLA searches the whole program when it loads it from the
  cache: a PSPNet-101's step took 13 s, and takes 6 where products are Eigen's. In float32 these are
  as fast; in bfloat16 a step would take a fifth longer.
  """
  if jax.default_backend() != 'cpu':
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
  """Those compiler options that this version of XLA has: without the rest it is slower, no more."""

  def compiles(name: str) -> bool:
    try:
      jax.jit(lambda: 0, compiler_options={name: options[name]}).lower().compile()
    except jax.errors.JaxRuntimeError:
      return False
    return True

  return {name: value for name, value in options.items() if compiles(name)}
