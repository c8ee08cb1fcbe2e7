"""Compiler options for the network, by platform."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax

# What keeps a GPU's program the same in each start and its results the same in each run: kernels
# that add in a fixed order, and none chosen by a stopwatch. Triton's are made for one: without it
# XLA finds no tile sizes for some of our products, so cuBLAS computes them all.
_DETERMINISTIC = {
  'xla_gpu_deterministic_ops': 'True',
  'xla_gpu_exclude_nondeterministic_ops': 'True',
  'xla_gpu_autotune_level': '0',
  'xla_gpu_enable_triton_gemm': 'False',
}


def for_network(
  platform: str,
  *,
  train: bool,
  dtype: str = 'float32',
  devices: int = 1,
  deterministic: bool = False,
) -> dict[str, str]:
  """Returns the options for `jax.jit` of a network.

  Args:
    platform: of the devices the program is compiled for, as `jax.Device.platform` has it.
    train: whether it is a training step.
    dtype: what the network computes in.
    devices: how many compute one step together.
    deterministic: asks for a program that gives the same bits each time it is compiled and run.
      CPUs and TPUs have no option for it.
  """
  if platform == 'cpu':
    return _for_cpu(train, dtype)
  if platform == 'tpu':  # no guide advises any for a network of this size
    return {}
  return _for_gpu(devices, deterministic)


def _for_cpu(train: bool, dtype: str) -> dict[str, str]:
  """Returns what a CPU's program is better with.

  XLA on CPU would undo `computed_once` and `remat`. Its usual order of operations suits many cores
  that work on different ones; the order that saves memory is as fast, as each operation keeps all
  cores busy, and inference takes a third of the memory with it. A training step would take three
  quarters, but finding the order costs 16 s more to compile a PSPNet-269's.

  XLA searches the whole program for each operation that YNNPACK computes when it loads a program
  from the cache: a PSPNet-101's step took 13 s to load, and takes 6 where Eigen computes the
  products. In float32 Eigen is as fast; in bfloat16 a step would take a fifth longer.
  """
  options = {'xla_disable_hlo_passes': 'cse_barrier_expander'}
  if not train:
    options['xla_cpu_scheduler_type'] = 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'
  elif dtype == 'float32':
    options['xla_cpu_experimental_ynn_fusion_type'] = (
      'LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION,LIBRARY_FUSION_TYPE_REDUCE'
    )
  return known(options, 'cpu')


def _for_gpu(devices: int, deterministic: bool) -> dict[str, str]:
  """Returns what a GPU's program is better with.

  The latency hiding scheduler starts an all-reduce as soon as its gradient is there and computes on
  meanwhile (docs.jax.dev, "GPU performance tips"; NVIDIA's JAX images set it). XLA of jaxlib 0.10.2
  does so by itself for an H100; for an A100 every all-reduce is waited for without the option. What
  else those guides name is XLA's default by now (Triton for any product, autotuning), or for models
  whose gradients take gigabytes (thresholds for combining all-reduces).

  Of the deterministic ones `exclude_nondeterministic_ops` takes kernels that add in a fixed order
  (openxla.org, "Determinism"), and `deterministic_ops` also the first that a library names instead
  of the fastest in a trial.
  """
  options = {}
  if devices > 1:
    options = known({'xla_gpu_enable_latency_hiding_scheduler': 'True'}, 'gpu')
  # Not only those that are known: who asks for it should hear it if XLA cannot.
  return options | (_DETERMINISTIC if deterministic else {})


def known(options: Mapping[str, str], platform: str) -> dict[str, str]:
  """Leaves out the options that this version of XLA does not have: it is only slower without.

  The platform's own compiler is asked. Where no such device is here, as when a program is compiled
  for another machine, JAX's first device answers: CPUs and GPUs share one table of options, and
  jaxlib refuses a CUDA plugin of another version.
  """
  return {name: value for name, value in options.items() if _is_known(name, value, platform)}


@functools.cache
def _is_known(name: str, value: str, platform: str) -> bool:
  try:
    device = jax.local_devices(backend=platform)[0]
  except RuntimeError:
    device = jax.local_devices()[0]
  with jax.default_device(device):
    try:  # XLA tells by compiling, which takes 40 ms
      jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
      return False
  return True
