"""The recipe's optimiser, momentum SGD under a polynomial learning rate; and AdamW beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from pspnet_jax.errors import UserError
from pspnet_jax.training.parameter_groups import decayed, multipliers, trained, training_only


def learning_rate(
  base_lr: float,
  total_steps: int,
  *,
  power: float = 0.9,
  min_lr: float = 0.0,
  warmup_steps: int = 0,
  warmup_start: float = 1e-6,
  milestones: tuple[int, ...] = (),
  milestone_factor: float = 0.1,
) -> optax.Schedule:
  """Poly schedule (section 4): step n from 0 has (base_lr - min_lr) (1 - n/N)^power + min_lr.

  After a warm-up the schedule begins anew: n and N count the steps that follow it, as in
  mmsegmentation's LinearLR with PolyLR. The warm-up rises by the same amount each step and has
  reached base_lr in its last. At a milestone the rate falls and stays lower: with a power of 0
  that is all it does, mmsegmentation's LinearLR with MultiStepLR.

  Args:
    base_lr: the highest learning rate.
    total_steps: the length of the run, warm-up included.
    power: exponent of the schedule; 0.9 in the paper.
    min_lr: the learning rate at the end; 1e-4 in mmsegmentation, 0 in semseg and the paper.
    warmup_steps: how many steps the warm-up takes; 0: none. 1,500 in mmsegmentation's configs
      with AdamW.
    warmup_start: the share of base_lr that the first step has (LinearLR's start_factor).
    milestones: steps after the warm-up, rising, from each of which on the rate is multiplied by
      milestone_factor; 60,000 and 72,000 of 80,000 in mmsegmentation's configs with AdamW.
    milestone_factor: MultiStepLR's gamma.

  Raises:
    UserError: for rates or a power that are no such numbers, a lowest rate above the highest, a
      warm-up that is negative, leaves no steps after it, or starts outside 0-1, milestones that do
      not rise within the run, or a factor outside 0-1.
  """
  if not 0 < base_lr < math.inf:
    raise UserError(f'base_lr {base_lr} is not a positive number: change optimizer.base_lr.')
  if not 0 <= min_lr <= base_lr:
    raise UserError(f'min_lr {min_lr} is not in [0, base_lr {base_lr}]: change optimizer.min_lr.')
  if not 0 <= power < math.inf:
    raise UserError(f'power {power} is not a number of 0 or more: change optimizer.power.')
  if warmup_steps < 0:
    raise UserError(
      f'a warm-up of {warmup_steps} steps is negative: change optimizer.warmup_steps.'
    )
  if not 0 <= warmup_start <= 1:
    raise UserError(f'warmup_start {warmup_start} is not in [0, 1]: change optimizer.warmup_start.')
  if not 0 <= milestone_factor <= 1:
    raise UserError(
      f'milestone_factor {milestone_factor} is not in [0, 1]: change optimizer.milestone_factor.'
    )
  if 0 < warmup_steps >= total_steps:
    raise UserError(
      f'a warm-up of {warmup_steps} steps leaves nothing of {total_steps} steps of training: '
      'lower optimizer.warmup_steps.'
    )
  after = optax.polynomial_schedule(base_lr, min_lr, power, total_steps - warmup_steps)
  if milestones:
    ends = (0, *milestones, total_steps - warmup_steps)
    if any(here >= there for here, there in itertools.pairwise(ends)):
      raise UserError(
        f'milestones {tuple(milestones)} do not rise from 1 to below the {ends[-1]} steps that '
        'follow the warm-up: change optimizer.milestones.'
      )
    after = _with_milestones(after, milestones, milestone_factor)
  if not warmup_steps:
    return after
  warmup = optax.linear_schedule(warmup_start * base_lr, base_lr, max(warmup_steps - 1, 0))
  return optax.join_schedules([warmup, after], [warmup_steps])


def _with_milestones(
  schedule: optax.Schedule, milestones: tuple[int, ...], factor: float
) -> optax.Schedule:
  passed = optax.piecewise_constant_schedule(1.0, dict.fromkeys(milestones, factor))
  return lambda step: schedule(step) * passed(step)


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
  layer_decay: float = 1.0,
  clip_norm: float = 0.0,
  frozen: tuple[str, ...] = (),
) -> optax.GradientTransformation:
  """torch's SGD with parameter groups: v = momentum v + (g + decay p); p -= multiplier lr v.

  Args:
    params: parameters (or anything) by name; only the names are read.
    schedule: learning rate of the backbone by step.
    momentum, weight_decay: 0.9 and 1e-4 in the paper.
    head_multiplier: learning rate of the head, which is whatever is not in the backbone, relative
      to the backbone's; 10 in the paper's code, 1 in mmseg.
    head_bias_multiplier: the same for the classifiers' biases: 20 in Caffe; None: as the weights.
    decay_norm, decay_bias: whether batch normalisation's and the classifiers' biases decay. All
      True is semseg; Caffe has decay_norm=False.
    layer_decay: the learning rate of each stage relative to the next one's; see
      `parameter_groups.multipliers`.
    clip_norm: the largest norm of the gradient of all trained parameters together; a longer one is
      shortened, before weight decay (torch's clip_grad_norm_); 0: none is.
    frozen: parts whose parameters stay as they are, such as 'backbone/stem'; see
      `parameter_groups.trained`. Their batch statistics go on following the batches, unless the
      network has `fixed_batch_stats` there.

  Raises:
    UserError: for a number out of range, a frozen part that is not there, or nothing to train.
  """
  if not 0 <= momentum < 1:
    raise UserError(f'momentum {momentum} is not in [0, 1): change optimizer.momentum.')
  names = trained(params, frozen)
  tx = optax.chain(
    *_clipping(clip_norm),
    _weight_decay(names, weight_decay, decay_norm, decay_bias),
    optax.trace(momentum),
    optax.scale_by_learning_rate(schedule),
    _multiply(multipliers(names, head_multiplier, head_bias_multiplier, layer_decay)),
  )
  return training_only(names, tx) if frozen else tx


def adamw(
  params: Mapping[str, object],
  schedule: optax.Schedule,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.01,
  head_multiplier: float = 10.0,
  head_bias_multiplier: float | None = None,
  decay_norm: bool = False,
  decay_bias: bool = False,
  layer_decay: float = 1.0,
  clip_norm: float = 0.0,
  frozen: tuple[str, ...] = (),
) -> optax.GradientTransformation:
  """torch's AdamW with parameter groups: p -= multiplier lr (m / (sqrt(v) + eps) + decay p).

  Here m and v are the averages of the gradient and its square, without their bias towards 0
  (Loshchilov and Hutter 2019, algorithm 2). Its learning rate is far below SGD's: mmsegmentation
  trains with 6e-5 to 1e-4.

  Args:
    params: parameters (or anything) by name; only the names are read.
    schedule: learning rate of the backbone by step.
    b1, b2, eps: decay of both averages, and what keeps the division from 0; torch's.
    weight_decay: 0.01 in torch and in mmsegmentation's SegFormer, 0.05 in its ConvNeXt.
    head_multiplier: see `sgd`; 10 in mmsegmentation's SegFormer.
    head_bias_multiplier: see `sgd`.
    decay_norm, decay_bias: see `sgd`; mmsegmentation decays neither.
    layer_decay: see `sgd`.
    clip_norm: see `sgd`; 1 in mmsegmentation's PSPNets with AdamW.
    frozen: see `sgd`.

  Raises:
    UserError: for a number out of range, a frozen part that is not there, or nothing to train.
  """
  for name, value in (('b1', b1), ('b2', b2)):
    if not 0 <= value < 1:
      raise UserError(f'{name} {value} is not in [0, 1): change optimizer.{name}.')
  if not 0 < eps < math.inf:
    raise UserError(f'eps {eps} is not a positive number: change optimizer.eps.')
  names = trained(params, frozen)
  tx = optax.chain(
    *_clipping(clip_norm),
    optax.scale_by_adam(b1, b2, eps),
    _weight_decay(names, weight_decay, decay_norm, decay_bias),
    optax.scale_by_learning_rate(schedule),
    _multiply(multipliers(names, head_multiplier, head_bias_multiplier, layer_decay)),
  )
  return training_only(names, tx) if frozen else tx


def _clipping(clip_norm: float) -> list[optax.GradientTransformation]:
  """Returns nothing, not a step that does nothing, without clipping: saved states stay the same."""
  if not 0 <= clip_norm < math.inf:
    raise UserError(
      f'clip_norm {clip_norm} is not a number of 0 or more: change optimizer.clip_norm.'
    )
  return [optax.clip_by_global_norm(clip_norm)] if clip_norm else []


def _weight_decay(
  names: list[str], weight_decay: float, decay_norm: bool, decay_bias: bool
) -> optax.GradientTransformation:
  if not 0 <= weight_decay < math.inf:
    raise UserError(
      f'weight decay {weight_decay} is not a number of 0 or more: change optimizer.weight_decay.'
    )
  return optax.add_decayed_weights(weight_decay, mask=decayed(names, decay_norm, decay_bias))


def _multiply(by_name: Mapping[str, float]) -> optax.GradientTransformation:
  return optax.stateless(
    lambda updates, _: {name: update * by_name[name] for name, update in updates.items()}
  )


def ema_decay_at(step: jax.Array, decay: float) -> jax.Array:
  """The decay of an average that has been updated `step` times: min(decay, (1 + n) / (10 + n)).

  TensorFlow's and timm's warm-up. Without it a run that is short beside 1 / (1 - decay) steps ends
  with an average that is mostly the initial network.
  """
  n = step.astype(jnp.float32)
  return jnp.minimum(decay, (1 + n) / (10 + n))


def ema(average: jax.Array, value: jax.Array, decay: jax.Array | float) -> jax.Array:
  """One step of an exponential moving average."""
  return decay * average + (1 - decay) * value.astype(jnp.promote_types(value.dtype, jnp.float32))
