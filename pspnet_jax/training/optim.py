"""Momentum SGD with coupled weight decay and a polynomial learning rate: the recipe's optimiser."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from pspnet_jax.errors import UserError

HEAD = ('pyramid', 'bottleneck', 'classifier', 'aux_head')  # everything but the backbone


def learning_rate(
  base_lr: float, total_steps: int, *, power: float = 0.9, min_lr: float = 0.0
) -> optax.Schedule:
  """Poly schedule (section 4): step n from 0 has (base_lr - min_lr) (1 - n/N)^power + min_lr.

  mmseg's floor is min_lr = 1e-4; semseg and the paper have none.
  """
  return optax.polynomial_schedule(base_lr, min_lr, power, total_steps)


def _multipliers(names: Mapping[str, object], head: float, head_bias: float) -> dict[str, float]:
  """Learning-rate multiplier of every parameter. The bias is the classifiers', as Caffe's conv6."""
  return {
    name: 1.0 if not name.startswith(HEAD) else (head_bias if name.endswith('conv/bias') else head)
    for name in names
  }


def _decayed(names: Mapping[str, object], decay_norm: bool, decay_bias: bool) -> dict[str, bool]:
  def keep(name: str) -> bool:
    if '/bn/' in name:
      return decay_norm
    return decay_bias if name.endswith('/bias') else True

  return {name: keep(name) for name in names}


def sgd(
  params: Mapping[str, object],
  schedule: optax.Schedule,
  *,
  momentum: float = 0.9,
  weight_decay: float = 1e-4,
  head_multiplier: float = 10.0,
  head_bias_multiplier: float | None = None,
  decay_norm: bool = True,
  decay_bias: bool = True,
) -> optax.GradientTransformation:
  """torch's SGD with parameter groups: v = momentum v + (g + decay p); p -= multiplier lr v.

  Args:
    params: parameters (or anything) by name; only the names are read.
    schedule: learning rate of the backbone by step.
    momentum, weight_decay: 0.9 and 1e-4 in the paper.
    head_multiplier: learning rate of pyramid, bottleneck and classifiers relative to the
      backbone's; 10 in the paper's code, 1 in mmseg.
    head_bias_multiplier: the same for the classifiers' biases: 20 in Caffe; None: as the weights.
    decay_norm, decay_bias: whether batch normalisation's and the classifiers' biases decay. All
      True is semseg; Caffe has decay_norm=False.

  Raises:
    UserError: for momentum or weight decay out of range.
  """
  if not 0 <= momentum < 1:
    raise UserError(f'momentum {momentum} is not in [0, 1): change optimizer.momentum.')
  if weight_decay < 0:
    raise UserError(f'weight decay {weight_decay} is negative: change optimizer.weight_decay.')
  if head_bias_multiplier is None:
    head_bias_multiplier = head_multiplier
  multipliers = _multipliers(params, head_multiplier, head_bias_multiplier)
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=_decayed(params, decay_norm, decay_bias)),
    optax.trace(momentum),
    optax.scale_by_learning_rate(schedule),
    optax.stateless(
      lambda updates, _: {name: update * multipliers[name] for name, update in updates.items()}
    ),
  )


def ema(average: jax.Array, value: jax.Array, decay: float) -> jax.Array:
  """One step of an exponential moving average."""
  return decay * average + (1 - decay) * value.astype(jnp.promote_types(value.dtype, jnp.float32))
