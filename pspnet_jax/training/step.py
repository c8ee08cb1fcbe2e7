"""One step of training as a pure function of (state, batch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.evaluation.metrics import Average, Confusion
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.runtime import compiler_options
from pspnet_jax.training.losses import Loss, SegmentationLoss
from pspnet_jax.training.sampled import confusion_of
from pspnet_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Measured = dict[str, Average | Confusion]  # what a step says of itself, to be merged over steps
Step = Callable[[TrainState, Batch], tuple[TrainState, Measured]]


def jit_options(
  network: Network,
  platform: str | None = None,
  *,
  devices: int = 1,
  deterministic: bool = False,
) -> dict[str, Any]:
  """How to `jax.jit` the step: the state is given away, not copied.

  Args:
    network: what is trained.
    platform: of the devices that train, as `jax.Device.platform` has it; None: JAX's first device.
    devices: how many train together.
    deterministic: see `compiler_options.for_network`.
  """
  dtype = network.options['dtype']
  platform = jax.devices()[0].platform if platform is None else platform
  options = compiler_options.for_network(
    platform, train=True, dtype=dtype, devices=devices, deterministic=deterministic
  )
  return {'donate_argnums': 0, 'compiler_options': options}


def make_train_step(
  network: Network,
  tx: optax.GradientTransformation,
  *,
  loss: Loss | None = None,
  seed: int = 0,
  mean: Sequence[float] = IMAGENET_MEAN,
  std: Sequence[float] = IMAGENET_STD,
  aux_weight: float = 0.4,
  accumulation_steps: int = 1,
  ema_decay: float = 0.0,
) -> Step:
  """Builds the step; jit it over a mesh with the batch split along its first axis.

  Args:
    network: what is trained.
    tx: the optimiser: that of `optim.sgd`, or any optax transformation of parameters by name.
    loss: what is minimised, for the main and the auxiliary logits alike; None is the paper's mean
      cross-entropy over the valid pixels, `SegmentationLoss()`.
    seed: of dropout, folded with the step, so that a resumed run draws what it would have drawn.
    mean, std: of the pixels, RGB, 0-255.
    aux_weight: of the auxiliary loss; 0.4 in the paper (section 5.2, table 2).
    accumulation_steps: parts a batch is taken in, to fit memory. Gradients are those of the whole
      batch's loss (hard examples are chosen image by image), however valid pixels are spread over
      the parts; batch statistics are each part's own, applied one after the other.
    ema_decay: decay of the parameters' moving average per step, warmed up as `optim.ema_decay_at`
      says; 0 keeps none.

  Raises:
    UserError: if the loss does not fit the number of classes.
  """
  num_classes = network.options['num_classes']
  loss = SegmentationLoss() if loss is None else loss
  if isinstance(loss, SegmentationLoss):
    loss.check(num_classes)
  upsamples = bool(getattr(loss, 'upsamples', False))  # the loss resizes the logits itself
  resized_whole = not getattr(loss, 'chunk_rows', 0)

  def loss_fn(
    params: Arrays, batch_stats: Arrays, batch: Batch, divisors: Any, key: jax.Array
  ) -> tuple[jax.Array, tuple[Arrays, dict[str, jax.Array], Confusion]]:
    image = normalize(batch['image'], mean, std)  # [N, H, W, 3]
    outputs, batch_stats = network.apply(
      params, batch_stats, image, train=True, key=key, upsample=not upsamples
    )
    label = batch['label']
    losses: dict[str, jax.Array] = {}
    for output, prefix in (('logits', 'main'), ('aux_logits', 'aux')):
      if output in outputs:
        with jax.named_scope('loss'):
          terms = loss(outputs[output], label, divisors, align_corners=network.align_corners)
        if len(terms) == 2:  # a single term is the loss
          terms = {'loss': terms['loss']}
        losses |= {f'{prefix}_{name}': value for name, value in terms.items()}
    total = losses['main_loss']
    if 'aux_loss' in losses:
      total = total + aux_weight * losses['aux_loss']
    with jax.named_scope('loss'):
      confusion = confusion_of(
        outputs['logits'],
        label,
        align_corners=network.align_corners,
        resized_whole=resized_whole,
      )
    return total, (batch_stats, {'loss': total, **losses}, confusion)

  grad_fn = jax.grad(loss_fn, has_aux=True)

  def gradients(
    params: Arrays, batch_stats: Arrays, batch: Batch, key: jax.Array
  ) -> tuple[Arrays, tuple[Arrays, dict[str, jax.Array], Confusion]]:
    divisors = loss.denominators(batch['label'])
    if accumulation_steps == 1:
      return grad_fn(params, batch_stats, batch, divisors, key)

    def part(carry: Any, inputs: tuple[jax.Array, Batch]) -> tuple[Any, None]:
      total, batch_stats = carry
      index, rows = inputs
      part_key = jax.random.fold_in(key, index)
      grads, (batch_stats, *measured) = grad_fn(params, batch_stats, rows, divisors, part_key)
      return (jax.tree.map(jnp.add, total, (grads, measured)), batch_stats), None

    # Row r goes to part r mod A: every device finds rows of every part among its own.
    parts = jax.tree.map(
      lambda x: x.reshape(-1, accumulation_steps, *x.shape[1:]).swapaxes(0, 1), batch
    )
    first = jax.tree.map(lambda x: x[0], parts)
    grads, (_, *measured) = jax.eval_shape(grad_fn, params, batch_stats, first, divisors, key)
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, measured))
    inputs = (jnp.arange(accumulation_steps), parts)
    ((grads, measured), batch_stats), _ = jax.lax.scan(part, (total, batch_stats), inputs)
    return grads, (batch_stats, *measured)

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Measured]:
    """One step. batch: image uint8 [N, H, W, 3], label uint8 [N, H, W]."""
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    grads, (batch_stats, losses, confusion) = gradients(state.params, state.batch_stats, batch, key)
    averages = {name: Average.of(value) for name, value in losses.items()}
    state = state.updated(tx, grads, batch_stats, ema_decay=ema_decay)
    return state, {**averages, 'confusion': confusion}

  return train_step
