"""Our side of a case: the step that `train` runs, the folded network that predictions come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.timing import Program
from benchmarks.work import Case, pixels
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import compiler_options
from pspnet_jax.training import optim
from pspnet_jax.training.losses import SegmentationLoss
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import jit_options, make_train_step


def train_step(
  case: Case, *, chunk_rows: int = 0, deterministic: bool = False, **network_options: Any
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
  """Our jitted step, and what makes each of its arguments."""
  network = Network(case.num_classes, depth=case.depth, dtype=case.dtype, **network_options)
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 100_000))
  step = make_train_step(network, tx, loss=SegmentationLoss(chunk_rows=chunk_rows))
  image, label = pixels(case)
  arguments = (
    lambda: TrainState.create(network, tx, seed=0),
    lambda: jax.device_put({'image': image, 'label': label}),
  )
  return jax.jit(step, **jit_options(network, deterministic=deterministic)), arguments


def program(case: Case, **network_options: Any) -> Program:
  """Our side of a case."""
  if case.train:
    step, arguments = train_step(case, **network_options)
    state, batch = (make() for make in arguments)
    carried = [state]

    def run() -> None:
      carried[0], _ = step(carried[0], batch)

    return Program(run, lambda: jax.block_until_ready(carried))
  network = Network(case.num_classes, depth=case.depth, dtype=case.dtype, **network_options)
  params, _ = network.fold(*network.init(0))
  apply = network.folded().apply
  forward = jax.jit(
    lambda params, image: apply(params, {}, image)[0]['logits'],
    compiler_options=compiler_options.for_network(jax.devices()[0].platform, train=False),
  )
  image = jax.device_put(pixels(case)[0].astype(np.float32) / 64 - 2)
  last: list[jax.Array] = []

  def infer() -> None:
    last[:] = [forward(params, image)]

  return Program(infer, lambda: jax.block_until_ready(last))
