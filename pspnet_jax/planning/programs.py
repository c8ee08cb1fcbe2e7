"""The programs of training and inference, compiled for devices that need not be there."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.on_device import Pieces, Windows, add_pieces, logits_of
from pspnet_jax.inference.tiled import CANVAS_STEP
from pspnet_jax.inference.views import make_views, rounded
from pspnet_jax.models.network import Network
from pspnet_jax.planning import counting, hlo
from pspnet_jax.planning.devices import Topology
from pspnet_jax.runtime import compiler_options, parallel
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import Step, jit_options


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A program compiled for a topology.

  Attributes:
    topology: what it was compiled for.
    images: of a batch, on all devices together.
    memory: bytes a device by what holds them: 'arguments', 'outputs' that are none of these, and
      'temporaries'.
    counted: its work on each device.
    xla: the compiler's own count of 'flops' and 'bytes accessed', where it has one.
    seconds, cpu_seconds: that compiling took; the latter of all threads.
    text: the program.
  """

  topology: Topology
  images: int
  memory: dict[str, int]
  counted: counting.Counted
  xla: dict[str, float]
  seconds: float
  cpu_seconds: float
  text: str = dataclasses.field(repr=False)

  @property
  def peak(self) -> int:
    """Bytes that each device needs."""
    return sum(self.memory.values())

  @property
  def seconds_of_arithmetic(self) -> float:
    """The least time by the speed of the matrix unit."""
    return self.topology.device.seconds(self.counted.flops)

  @property
  def seconds_of_traffic(self) -> float:
    """The least time by the speed of the memory; what the cache holds is free."""
    counted = self.counted
    return (counted.memory - counted.cached) / self.topology.device.bandwidth

  @property
  def least_seconds(self) -> float:
    """No device of this kind can run it faster."""
    return max(self.seconds_of_arithmetic, self.seconds_of_traffic)


class TooLarge(Exception):
  """A program that the compiler refuses, since no device could hold what it needs.

  Attributes:
    needed: bytes a device, or infinity where the compiler does not say.
  """

  def __init__(self, message: str):
    super().__init__(message)
    # XLA for TPUs has two ways to say it.
    used = re.search(r'Used ([\d.]+)([KMGT]) of|\(([\d.]+)([KMGT])\) exceeds', message)
    number, unit = [x for x in used.groups() if x] if used else ('inf', 'K')
    self.needed = float(number) * 1024 ** (1 + 'KMGT'.index(unit))


def training_step(
  topology: Topology,
  network: Network,
  tx: optax.GradientTransformation,
  step: Step,
  *,
  batch_size: int,
  crop_size: tuple[int, int],
  ema_decay: float = 0.0,
  deterministic: bool = False,
) -> Compiled:
  """Compiles a step of training as `pspnet train` runs it, the batch split over the devices.

  Args:
    topology: what for.
    network: what is trained.
    tx: the optimiser.
    step: of `make_train_step`.
    batch_size: images of all devices together.
    crop_size: height and width.
    ema_decay: as `step` was made with.
    deterministic: see `compiler_options.for_network`.

  Raises:
    TooLarge: if the compiler finds that no device could hold it.
  """
  params = network.param_shapes
  average = params if ema_decay else None
  opt_state = jax.eval_shape(tx.init, params)
  number: Any = jax.ShapeDtypeStruct((), jnp.int32)
  state = TrainState(number, params, network.batch_stat_shapes, opt_state, average)
  batch = {
    'image': jax.ShapeDtypeStruct((batch_size, *crop_size, 3), jnp.uint8),
    'label': jax.ShapeDtypeStruct((batch_size, *crop_size), jnp.uint8),
  }
  mesh = topology.mesh
  options = jit_options(
    network, topology.device.platform, devices=mesh.size, deterministic=deterministic
  )
  options['compiler_options'] |= topology.compiler_options()
  jitted = jax.jit(step, out_shardings=parallel.replicated(mesh), **options)
  arguments = _placed(state, parallel.replicated(mesh)), _placed(batch, parallel.split_batch(mesh))
  return _compiled(topology, batch_size, jitted, arguments)


def inference(
  topology: Topology, network: Network, *, batch_size: int, crop_size: tuple[int, int]
) -> Compiled:
  """Compiles what labels windows: what the engine does in two programs, as one.

  Windows are as large as the image, and all of the batch are added to one canvas, which every
  device has.

  Args:
    topology: what for.
    network: as it is trained; its normalisation is folded here.
    batch_size: windows of all devices together.
    crop_size: height and width of a window.
  """
  mesh, classes = topology.mesh, network.options['num_classes']
  names = tuple(map(str, range(classes)))
  card = Card(network.options, DatasetSpec(names, default_palette(classes)), crop_size)
  [view] = make_views(crop_size, card)
  size = [rounded(side, CANVAS_STEP) for side in view.piece]
  whole = slice(0, crop_size[0]), slice(0, crop_size[1])
  [(_, row)], [(_, column)] = view.place(whole, size)

  def of_batch(x: Any) -> Any:
    return jax.ShapeDtypeStruct((batch_size, *x.shape), x.dtype)

  ends = row.index, row.weight, column.index, column.weight
  pieces = Pieces(of_batch(np.int32(0)), of_batch(np.zeros(2, np.int32)), *map(of_batch, ends))
  pixels = np.zeros((*crop_size, 3), np.uint8)
  windows = Windows(*map(of_batch, (pixels, np.zeros(4, np.int32), np.zeros(3, np.float32))))
  run = logits_of(network.folded(), card, mirror=False, in_turn=False)
  add = add_pieces(card, crop_size, align_corners=network.align_corners)

  def label(canvas: jax.Array, weights: Any, windows: Windows, pieces: Pieces) -> jax.Array:
    return add(canvas, run(weights, windows), pieces)

  options = compiler_options.for_network(topology.device.platform, train=False)
  on_all = parallel.replicated(mesh)
  jitted = jax.jit(
    label,
    donate_argnums=0,
    out_shardings=on_all,
    compiler_options=options | topology.compiler_options(),
  )
  weights = jax.eval_shape(network.fold, network.param_shapes, network.batch_stat_shapes)
  arguments = (
    _placed(jax.ShapeDtypeStruct((*size, classes), jnp.float32), on_all),
    _placed(weights, on_all),
    _placed(windows, parallel.split_batch(mesh)),
    _placed(pieces, on_all),
  )
  return _compiled(topology, batch_size, jitted, arguments)


def _placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
  def place(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

  return jax.tree.map(place, tree)


def _compiled(topology: Topology, images: int, jitted: Any, arguments: tuple[Any, ...]) -> Compiled:
  lowered = jitted.lower(*arguments)
  began, cpu_began = time.perf_counter(), time.process_time()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    if 'RESOURCE_EXHAUSTED' not in str(e):
      raise
    raise TooLarge(str(e)) from e
  seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
  sizes = compiled.memory_analysis()
  memory = {
    'arguments': sizes.argument_size_in_bytes,
    'outputs': sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
    'temporaries': sizes.temp_size_in_bytes,
  }
  cost = compiled.cost_analysis() or {}
  cost = cost[0] if isinstance(cost, list) else cost
  text = compiled.as_text()
  return Compiled(
    topology,
    images,
    memory,
    counting.count(hlo.read(text), cache_bytes=topology.device.cache),
    {name: cost[name] for name in ('flops', 'bytes accessed') if name in cost},
    seconds,
    cpu_seconds,
    text,
  )
