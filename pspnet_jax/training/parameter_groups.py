"""Which parameters are trained, how fast, and which of them decay: groups by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from pspnet_jax.errors import UserError

# How many stages lie between a part of the backbone and the head, the nearest stage counted as one.
_DEPTHS = {'stem': 5, 'stage1': 4, 'stage2': 3, 'stage3': 2, 'stage4': 1}


def is_head(name: str) -> bool:
  """Whether a parameter belongs to the head: everything but the backbone does."""
  return not name.startswith('backbone/')


def multipliers(
  names: Iterable[str], head: float, head_bias: float | None = None, layer_decay: float = 1.0
) -> dict[str, float]:
  """Returns the learning-rate multiplier of every parameter.

  Args:
    names: the parameters.
    head: multiplier of the head.
    head_bias: multiplier of the classifiers' biases (those of Caffe's conv6); None: as `head`.
    layer_decay: a factor for every stage on the way back from the head: with d, stage4 has d,
      stage3 d^2, stage2 d^3, stage1 d^4 and the stem d^5. The head has 1, beside its multiplier.
      This is the 'stage_wise' of mmsegmentation's LearningRateDecayOptimizerConstructor, which has
      it for ConvNeXt (after BEiT, Bao et al. 2022), for a ResNet.

  Raises:
    UserError: for a multiplier that is no number of 0 or more, a decay outside (0, 1], or a
      backbone of other stages.
  """
  head_bias = head if head_bias is None else head_bias
  for key, value in (('head_multiplier', head), ('head_bias_multiplier', head_bias)):
    if not 0 <= value < math.inf:
      raise UserError(f'{key} {value} is not a number of 0 or more: change optimizer.{key}.')
  if not 0 < layer_decay <= 1:
    raise UserError(f'layer_decay {layer_decay} is not in (0, 1]: change optimizer.layer_decay.')

  def multiplier(name: str) -> float:
    if is_head(name):
      return head_bias if name.endswith('conv/bias') else head
    if layer_decay == 1:
      return 1.0
    part = name.split('/')[1]
    if part not in _DEPTHS:
      raise UserError(
        f'layer_decay {layer_decay} has no stage for the parameter {name}, only for '
        f'{", ".join(_DEPTHS)}: set optimizer.layer_decay to 1.'
      )
    return layer_decay ** _DEPTHS[part]

  return {name: multiplier(name) for name in names}


def decayed(names: Iterable[str], norm: bool, bias: bool) -> dict[str, bool]:
  """Says of every parameter whether it decays: kernels do, others if asked for.

  Args:
    names: the parameters.
    norm: whether those of normalisation do, which are layers with a scale.
    bias: whether the biases of other layers do.
  """
  names = list(names)
  scaled = {name.rpartition('/')[0] for name in names if name.endswith('/scale')}

  def keep(name: str) -> bool:
    if '/bn/' in name or name.rpartition('/')[0] in scaled:
      return norm
    return bias if name.endswith('/bias') else True

  return {name: keep(name) for name in names}


def trained(names: Iterable[str], frozen: Sequence[str]) -> list[str]:
  """Returns the parameters that are not frozen.

  Args:
    names: all parameters.
    frozen: names of parameters, or the first parts of names up to a slash, such as 'backbone' or
      'backbone/stage1'.

  Raises:
    UserError: for a part that no parameter has, with the nearest one, or if nothing is left.
  """
  names = list(names)
  if isinstance(frozen, str):
    raise UserError(f"frozen is one string: write ('{frozen}',), a tuple (optimizer.frozen).")
  parts = set(names)
  for name in names:
    parts |= {name[:i] for i, letter in enumerate(name) if letter == '/'}
  for part in frozen:
    if part not in parts:
      near = difflib.get_close_matches(part, sorted(parts), n=1, cutoff=0.0)
      hint = f': did you mean {near[0]!r}?' if near else '.'
      raise UserError(f'no parameter is named {part!r} or lies in it (optimizer.frozen){hint}')
  left = [name for name in names if not any(f'{name}/'.startswith(f'{part}/') for part in frozen)]
  if not left:
    raise UserError('every parameter is frozen: take something out of optimizer.frozen.')
  return left


def training_only(
  names: Sequence[str], tx: optax.GradientTransformation
) -> optax.GradientTransformation:
  """Returns a transformation that changes these parameters as `tx` does, and no others.

  The others keep their bits, and `tx` keeps nothing for them.
  """

  def chosen(arrays: Any) -> Any:
    return None if arrays is None else {name: arrays[name] for name in names}

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    changes, state = tx.update(chosen(updates), state, chosen(params))
    # Adding 0 would turn -0 into 0.
    stay = {name: jnp.full_like(x, -0.0) for name, x in updates.items() if name not in changes}
    return {name: (changes | stay)[name] for name in updates}, state

  return optax.GradientTransformation(lambda params: tx.init(chosen(params)), update)
