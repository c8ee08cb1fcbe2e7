"""Accelerators that need not be there: what their makers and XLA say of them."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from pspnet_jax.errors import UserError, nearest

TERA, GIGA = 1e12, 1e9
MIB, GIB = 2**20, 2**30


@dataclasses.dataclass(frozen=True)
class Device:
  """A kind of accelerator.

  Attributes:
    name: as its maker calls it.
    platform: 'gpu' or 'tpu', as `jax.Device.platform` has it; 'cpu' is this machine, for trying
      things out.
    memory: bytes that a program can use.
    bandwidth: of that memory, bytes a second.
    flops: of dense products a second, by what is multiplied: 'bf16', 'f32' as XLA multiplies by
      default, 'f32 highest' to float32's last digit.
    cache: bytes of the second-level cache; 0 where the compiler places what stays on chip itself.
    source: of these figures.
    for_xla: how XLA is told of a GPU that is absent.
  """

  name: str
  platform: str
  memory: int
  bandwidth: float
  flops: Mapping[str, float]
  cache: int
  source: str
  for_xla: str = dataclasses.field(default='', repr=False)

  def seconds(self, flops: Mapping[str, float]) -> float:
    """The least time for so many FLOPs of each kind; a kind that is not known is the fastest."""
    return sum(count / self._speed(kind) for kind, count in flops.items())

  def _speed(self, kind: str) -> float:
    dtype, _, precision = kind.partition(' ')
    if passes := re.search(r'_x(\d)', precision):  # float32 by so many products of bfloat16
      return self.flops['bf16'] / int(passes[1])
    if dtype in ('bf16', 'f16'):
      return self.flops['bf16']
    known = f'{dtype} {precision}'.strip()
    return self.flops.get(known, self.flops.get(dtype, self.flops['bf16']))


# What XLA asks of a GPU, in the form of its own descriptions, from which the numbers below are:
# xla/backends/gpu/target_config/specs.
_FOR_XLA = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {shared_by_one}
  core_count: {cores} fpus_per_core: {units} clock_rate_ghz: {clock}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {cache} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 }} device_description_str: "{name}"
"""
_HOPPER = {'major': 9, 'cores': 132, 'units': 128, 'clock': 1.98}
_HOPPER |= {'shared': 233472, 'shared_by_one': 232448}
_AMPERE = {'major': 8, 'cores': 108, 'units': 64, 'clock': 1.41}
_AMPERE |= {'shared': 167936, 'shared_by_one': 166912}


def _gpu(
  name: str,
  kind: dict[str, Any],
  memory: int,
  bandwidth: float,
  flops: tuple[float, float, float],
  cache: int,
  source: str,
) -> Device:
  """`flops`: of bfloat16, TF32 (XLA's default for float32) and float32, dense."""
  rates = dict(zip(('bf16', 'f32', 'f32 highest'), (TERA * x for x in flops), strict=True))
  sizes = {'memory': memory, 'bandwidth': int(bandwidth), 'cache': cache}
  text = _FOR_XLA.format(name=name, **kind, **sizes)
  return Device(name, 'gpu', memory, bandwidth, rates, cache, source, text)


def _tpu(name: str, memory: float, bandwidth: float, bf16: float) -> Device:
  # The matrix unit multiplies bfloat16: float32 by one product, or by three or six to be exact.
  bf16 *= TERA
  flops = {'bf16': bf16, 'f32': bf16, 'f32 high': bf16 / 3, 'f32 highest': bf16 / 6}
  source = f'cloud.google.com/tpu/docs/{name.split()[-1]}'
  return Device(name, 'tpu', int(memory * GIB), bandwidth * GIGA, flops, 0, source)


_FLOPS = 989.4, 494.7, 66.9  # the data sheets' are with sparsity, twice as much
# The names that --topology knows, and an example of each.
DEVICES: dict[str, tuple[Device, str]] = {
  'h100': (
    _gpu(
      'NVIDIA H100 80GB HBM3',
      *(_HOPPER, 84_942_979_072, 3352 * GIGA, _FLOPS, 50 * MIB, 'data sheet of the H100 SXM'),
    ),
    'h100:8',
  ),
  'h200': (
    _gpu(
      'NVIDIA H200 141GB HBM3e',
      *(_HOPPER, 151_397_597_184, 4800 * GIGA, _FLOPS, 50 * MIB, 'data sheet of the H200 SXM'),
    ),
    'h200:8',
  ),
  'a100': (
    _gpu(
      'NVIDIA A100-SXM4-80GB',
      *(_AMPERE, 85_100_068_864, 2039 * GIGA, (312, 156, 19.5), 40 * MIB, 'data sheet of the A100'),
    ),
    'a100:8',
  ),
  # Their memory is what XLA says is there; the data sheets have 16, 95 and 32 GB.
  'v5e': (_tpu('TPU v5e', 15.75, 819, 197), 'v5e:2x2'),
  'v5p': (_tpu('TPU v5p', 95.74, 2765, 459), 'v5p:2x2x1'),
  'v6e': (_tpu('TPU v6e', 31.25, 1640, 918), 'v6e:2x2'),
}
# The machine at hand, to try things out without any other compiler.
_CPU = Device('CPU', 'cpu', 16 * GIB, 50 * GIGA, {'bf16': TERA}, 0, 'round numbers')
# What `make accelerators` sets up, and the extra that brings the compiler.
_ENVIRONMENTS = {'gpu': ('.venv-cuda', 'cuda12'), 'tpu': ('.venv-tpu', 'tpu')}
# The compiler for TPUs would look for the cloud that it runs in and for its devices, and refuse to
# be loaded while another process has them. The type of TPU does not matter: a topology has its own.
_TPU_COMPILER = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Devices of one kind that compute together.

  Attributes:
    name: as it was asked for, such as 'v5e:2x2'.
    device: what each of them is.
    devices: descriptions of them to compile for.
  """

  name: str
  device: Device
  devices: tuple[Any, ...]

  @property
  def mesh(self) -> Mesh:
    """The mesh of training: one axis, 'data', over all devices."""
    return Mesh(np.array(self.devices), ('data',), (AxisType.Auto,))

  def compiler_options(self) -> dict[str, Any]:
    """Options without which the compiler refuses to work for a device that is absent.

    XLA measures which tiles are best for products that it writes itself, and can choose none for
    some of them when there is nothing to measure on: a library computes those.
    """
    return {'xla_gpu_enable_triton_gemm': False} if self.device.platform == 'gpu' else {}

  def usable_memory(self) -> int:
    """Bytes of each device that a process gets: of a GPU, JAX takes three quarters by default."""
    share = os.environ.get('XLA_PYTHON_CLIENT_MEM_FRACTION', '.75')
    try:
      return int(self.device.memory * (float(share) if self.device.platform == 'gpu' else 1))
    except ValueError as e:
      raise UserError(f'XLA_PYTHON_CLIENT_MEM_FRACTION is {share!r}: give a share, as .9.') from e


def keep_to_the_cpu() -> None:
  """Has this process use no accelerator, even if there is one; call it before JAX uses a device."""
  jax.config.update('jax_platforms', 'cpu')


def open_topology(name: str) -> Topology:
  """Describes devices to compile for, which need not be there.

  Args:
    name: 'h100' for one, 'h100:8' for eight on one host, and so on for other GPUs; 'v5e:2x2',
      'v5p:2x2x1' and so on for TPUs; 'cpu' for one device of this machine.

  Raises:
    UserError: if there is no such topology, or the compiler for it is not installed.
  """
  kind, _, layout = name.partition(':')
  if name == 'cpu':
    return Topology(name, _CPU, tuple(jax.devices('cpu')[:1]))
  if kind not in DEVICES:
    raise UserError(f'there is no topology {name!r}: {_known(kind)}.')
  device, example = DEVICES[kind]
  pattern = r'([1-9]\d*)?' if device.platform == 'gpu' else r'[1-9]\d*(x[1-9]\d*)+'
  if not re.fullmatch(pattern, layout):
    raise UserError(f'the topology {name!r} has no such layout: write it as {example}.')
  if device.platform == 'tpu':
    for variable, value in _TPU_COMPILER.items():
      os.environ.setdefault(variable, value)
  try:
    if device.platform == 'tpu':
      alone = {'chips_per_host_bounds': (1, 1, 1)} if set(layout) <= {'1', 'x'} else {}
      described = topologies.get_topology_desc(name, 'tpu', **alone)
    else:
      described = topologies.get_topology_desc(
        platform='cuda', target_config=device.for_xla, topology=f'1x1x{layout or 1}'
      )
  except jax.errors.JaxRuntimeError as e:  # as of 3x5, which no rack has
    raise UserError(f'the topology {name!r} cannot be made: {_first_line(e)}') from e
  except (NotImplementedError, RuntimeError) as e:
    folder, extra = _ENVIRONMENTS[device.platform]
    raise UserError(
      f"XLA's compiler for {device.name} is not installed here: make accelerators, in a clone, "
      f'sets up {folder} with it, or install jax[{extra}] where you start this.'
    ) from e
  return Topology(name, device, tuple(described.devices))


def _known(kind: str) -> str:
  examples = ['h100', *(example for _, example in DEVICES.values())]
  near = nearest(kind, DEVICES)
  example = near if near is None or DEVICES[near][0].platform == 'gpu' else DEVICES[near][1]
  hint = f'did you mean {example}? ' if near else ''
  there = f'{hint}There' if hint else 'there'
  return f'{there} are {", ".join(examples)} and other sizes of these'


def _first_line(error: Exception) -> str:
  return str(error).partition('\n')[0].partition(': ')[2].rstrip('.') + '.'
