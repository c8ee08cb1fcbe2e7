"""What steps have measured since the last report, added up on the device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.metrics import Average, Confusion, Scores
from pspnet_jax.training.saving import Values


class Window:
  """What was measured since the last report."""

  def __init__(self, since: int):
    self.since, self._began = since, time.monotonic()
    self._total: Any = None
    self._images = 0
    self.parts: set[str] = set()  # of the loss: for the files, not for the console
    self.labelled = False  # whether any pixel had a class; True where the step does not count them

  def add(self, measured: Mapping[str, Any], batch: Any) -> None:
    self._total = start(measured) if self._total is None else merge(self._total, measured)
    self._images += len(batch['image']) if isinstance(batch, Mapping) and 'image' in batch else 0

  def close(self) -> Values:
    """Returns the values by name; waits for the device."""
    values = dict(_value(name, total) for name, total in self._total.items())
    counted = self._total.get('confusion')
    self.labelled = (
      not isinstance(counted, Confusion)
      or values.get('train/loss') != 0  # it sees every pixel, the confusion matrix one of 16
      or bool(counted.compute().any())
    )
    self.parts = {name for name in values if name not in ('train/loss', 'train/mIoU')}
    if self._images:
      values['images_per_second'] = self._images / (time.monotonic() - self._began)
    return values


def _mergeable(measured: Mapping[str, Any]) -> dict[str, Any]:
  return {n: x if hasattr(x, 'merge') else Average.of(_wide(x)) for n, x in measured.items()}


def _wide(x: Any) -> jax.Array:
  """A number in float32 or wider: sums of bfloat16 soon stop growing, and integers overflow."""
  x = jnp.asarray(x)
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@jax.jit
def start(measured: Mapping[str, Any]) -> dict[str, Any]:
  return _mergeable(measured)


@jax.jit
def merge(total: dict[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
  return {name: total[name].merge(value) for name, value in _mergeable(measured).items()}


def _value(name: str, total: Any) -> tuple[str, float]:
  """What was measured over a window, and the name it is logged by."""
  value = np.asarray(total.compute())
  if isinstance(total, Confusion):
    name = 'train/mIoU' if name == 'confusion' else f'train/{name}/mIoU'
    return name, Scores(value).miou
  if value.ndim:
    raise UserError(
      f'the step measures {name!r} of shape {value.shape}: give numbers, or a Confusion of labels '
      'and predictions.'
    )
  return f'train/{name}', float(value)
