"""One step of training as a pure function of (state, metrics, batch)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.metrics import Average, Confusion
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.images import normalize, resize
from pspnet_jax.runtime import compiler_options
from pspnet_jax.training import optim
from pspnet_jax.training.losses import (
  denominator,
  pixel_losses,
  pixel_losses_of_upsampled,
  sum_losses,
)

Batch = dict[str, jax.Array]
Measured = tuple[dict[str, jax.Array], Confusion]  # losses by name, and what was taken for what
SAMPLING = 4  # training's own mIoU looks at every 4th pixel of every 4th row


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything a step changes. `ema_params` is None unless an average is kept."""

  step: jax.Array  # int32 scalar: steps taken
  params: Arrays
  batch_stats: Arrays
  opt_state: Any
  ema_params: Arrays | None = None

  @classmethod
  def create(
    cls, network: Network, tx: optax.GradientTransformation, *, seed: int, ema_decay: float = 0.0
  ) -> TrainState:
    params, batch_stats = network.init(seed)
    # A copy: state is donated to the step, and a buffer can be given away only once.
    ema_params = jax.tree.map(jnp.copy, params) if ema_decay else None
    opt_state = jax.jit(tx.init)(params)  # one program, not one for each shape
    return cls(jnp.int32(0), params, batch_stats, opt_state, ema_params)

  def with_weights(self, params: Arrays, batch_stats: Arrays) -> TrainState:
    """A state of the same step with other weights; a moving average begins at them."""
    average = None if self.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(self, params=params, batch_stats=batch_stats, ema_params=average)

  def items(self) -> dict[str, Any]:
    """What a checkpoint stores, by name; the step is the checkpoint's number."""
    fields = [field.name for field in dataclasses.fields(self) if field.name != 'step']
    items = {name: getattr(self, name) for name in fields}
    return {name: value for name, value in items.items() if value is not None}

  @classmethod
  def from_items(cls, step: int, items: Mapping[str, Any]) -> TrainState:
    """Makes a state of the `items` of a checkpoint."""
    return cls(jnp.int32(step), **items)


@flax.struct.dataclass
class TrainMetrics:
  """Averages over the steps since the last report, and how often each class was taken for which."""

  loss: Average
  main_loss: Average
  aux_loss: Average
  confusion: Confusion  # of the training batches, on sampled pixels, before each step's update

  @classmethod
  def zeros(cls, num_classes: int) -> TrainMetrics:
    averages = {name: Average.empty() for name in ('loss', 'main_loss', 'aux_loss')}
    return cls(**averages, confusion=Confusion.zeros(num_classes))

  def merge(self, other: TrainMetrics) -> TrainMetrics:
    fields = [field.name for field in dataclasses.fields(self)]
    return TrainMetrics(**{f: getattr(self, f).merge(getattr(other, f)) for f in fields})


def jit_options(network: Network) -> dict[str, Any]:
  """How to `jax.jit` the step: state and metrics are given away, not copied."""
  options = compiler_options.for_network(train=True, dtype=network.options['dtype'])
  return {'donate_argnums': (0, 1), 'compiler_options': options}


def make_train_step(
  network: Network,
  tx: optax.GradientTransformation,
  *,
  seed: int,
  mean: Sequence[float],
  std: Sequence[float],
  aux_weight: float = 0.4,
  accumulation_steps: int = 1,
  ema_decay: float = 0.0,
  class_weights: Sequence[float] = (),
  ohem_threshold: float = 0.7,
  ohem_min_kept: int = 0,
  chunk_rows: int = 0,
) -> Callable[[TrainState, TrainMetrics, Batch], tuple[TrainState, TrainMetrics]]:
  """Builds the step; jit it over a mesh with the batch split along its first axis.

  Args:
    network: what is trained.
    tx: the optimiser, as of `optim.sgd`.
    seed: of dropout, folded with the step, so that a resumed run draws what it would have drawn.
    mean, std: of the pixels, RGB, 0-255.
    aux_weight: of the auxiliary loss; 0.4 in the paper (section 5.2, table 2).
    accumulation_steps: parts a batch is taken in, to fit memory. Gradients are those of the whole
      batch's mean over valid pixels (by their weights, if any; hard examples are chosen image by
      image), however these are spread over the parts; batch statistics are
      each part's own, applied one after the other.
    ema_decay: decay of the parameters' moving average per step; 0 keeps none.
    class_weights: one for each class, or none; see `losses.sum_losses`.
    ohem_threshold, ohem_min_kept: hard example mining, of both losses; see `losses.hard_pixels`.
    chunk_rows: rows of logits that are there at a time; 0 is all of them. Saves the memory of the
      largest arrays where there are many classes, and costs time: they are computed twice.

  Raises:
    UserError: if there are weights for another number of classes.
  """
  num_classes = network.options['num_classes']
  if class_weights and len(class_weights) != num_classes:
    raise UserError(
      f'config.loss.class_weights has {len(class_weights)} numbers for {num_classes} '
      'classes: give one each, or none.'
    )
  loss_sum = functools.partial(
    sum_losses,
    class_weights=tuple(class_weights),
    ohem_threshold=ohem_threshold,
    ohem_min_kept=ohem_min_kept,
  )

  align_corners = network.options.get('align_corners', True)

  def of_pixels(logits: jax.Array, label: jax.Array) -> jax.Array:
    if chunk_rows:
      return pixel_losses_of_upsampled(logits, label, chunk_rows, align_corners=align_corners)
    return pixel_losses(logits, label)

  def sampled(logits: jax.Array, height: int, width: int) -> jax.Array:
    if chunk_rows:
      return resize(logits, (height, width), align_corners=align_corners, every=SAMPLING)
    return logits[:, ::SAMPLING, ::SAMPLING]

  def loss_fn(
    params: Arrays, batch_stats: Arrays, batch: Batch, divisor: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, tuple[Arrays, Measured]]:
    image = normalize(batch['image'], mean, std)  # [N, H, W, 3]
    outputs, batch_stats = network.apply(
      params, batch_stats, image, train=True, key=key, upsample=not chunk_rows
    )
    label = batch['label']
    losses = {name: loss_sum(of_pixels(x, label), label) / divisor for name, x in outputs.items()}
    main_loss, aux_loss = losses['logits'], losses.get('aux_logits', jnp.float32(0))
    loss = main_loss + aux_weight * aux_loss
    prediction = sampled(outputs['logits'], *label.shape[1:]).argmax(-1)
    confusion = Confusion.count(label[:, ::SAMPLING, ::SAMPLING], prediction, num_classes)
    return loss, (
      batch_stats,
      ({'loss': loss, 'main_loss': main_loss, 'aux_loss': aux_loss}, confusion),
    )

  grad_fn = jax.grad(loss_fn, has_aux=True)

  def gradients(
    params: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array
  ) -> tuple[Arrays, tuple[Arrays, Measured]]:
    divisor = denominator(batch['label'], class_weights)
    if accumulation_steps == 1:
      return grad_fn(params, batch_stats, batch, divisor, key)

    def part(carry: Any, inputs: tuple[jax.Array, Batch]) -> tuple[Any, None]:
      total, batch_stats = carry
      index, rows = inputs
      part_key = jax.random.fold_in(key, index)
      grads, (batch_stats, measured) = grad_fn(params, batch_stats, rows, divisor, part_key)
      return (jax.tree.map(jnp.add, total, (grads, measured)), batch_stats), None

    # Row r goes to part r mod A: every device finds rows of every part among its own.
    parts = jax.tree.map(
      lambda x: x.reshape(-1, accumulation_steps, *x.shape[1:]).swapaxes(0, 1), batch
    )
    first = jax.tree.map(lambda x: x[0], parts)
    grads, (_, measured) = jax.eval_shape(grad_fn, params, batch_stats, first, divisor, key)
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, measured))
    inputs = (jnp.arange(accumulation_steps), parts)
    ((grads, measured), batch_stats), _ = jax.lax.scan(part, (total, batch_stats), inputs)
    return grads, (batch_stats, measured)

  def train_step(
    state: TrainState, metrics: TrainMetrics, batch: Batch
  ) -> tuple[TrainState, TrainMetrics]:
    """One SGD step. batch: image uint8 [N, H, W, 3], label uint8 [N, H, W]."""
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    grads, (batch_stats, measured) = gradients(state.params, state.batch_stats, batch, key)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
      ema_params = jax.tree.map(lambda a, p: optim.ema(a, p, ema_decay), ema_params, params)
    losses, confusion = measured
    averages = {name: Average.of(loss) for name, loss in losses.items()}
    metrics = metrics.merge(TrainMetrics(**averages, confusion=confusion))
    return TrainState(state.step + 1, params, batch_stats, opt_state, ema_params), metrics

  return train_step
