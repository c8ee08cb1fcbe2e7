"""Upsampling and cross-entropy of the logits with their gradient, in several forms.

Logits at the image's size are the largest arrays of a training step: which form a device is fastest
with is a matter of what its compiler keeps out of memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import work
from benchmarks.timing import Program, alternate, summary
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.ops.cells import Cells
from pspnet_jax.ops.images import resize
from pspnet_jax.training.losses import SegmentationLoss
from pspnet_jax.training.pixel_losses import (
  denominator,
  gathered_logit,
  picked_logit,
  pixel_losses_in_cells,
  pixel_losses_of_upsampled,
)

COLUMNS = ('form', 'ms', 'middle half', 'temporaries, MB', 'of the first', 'gradients differ')
CHUNK_ROWS = 32
Form = Callable[[jax.Array, jax.Array], jax.Array]  # logits [N, h, w, C], label [N, H, W] -> loss


def _of_the_step(logits: jax.Array, label: jax.Array) -> jax.Array:
  """The loss as `training.step` has it, in this platform's form."""
  loss = SegmentationLoss()
  return loss(logits, label, loss.denominators(label))['loss']


def _in_cells(logits: jax.Array, label: jax.Array, *, flat: bool) -> jax.Array:
  """The form of accelerators, interpolated cell by cell; `flat` is a TPU's layout."""
  cells = Cells.of(logits.shape[1:3], label.shape[1:], align_corners=True)
  arranged = cells.arrange(label, IGNORE_LABEL)
  losses = pixel_losses_in_cells(cells, flat, logits, arranged)
  return losses.sum() / denominator(label)


def _in_chunks(logits: jax.Array, label: jax.Array) -> jax.Array:
  losses = pixel_losses_of_upsampled(logits, label, CHUNK_ROWS, align_corners=True)
  return losses.sum() / denominator(label)


def _upsampled(picked: Callable[[jax.Array, jax.Array], jax.Array]) -> Form:
  """Log-sum-exp of the upsampled logits less what `picked` takes from them."""

  def form(logits: jax.Array, label: jax.Array) -> jax.Array:
    logits = resize(logits, label.shape[1:], align_corners=True)
    losses = jax.nn.logsumexp(logits, axis=-1) - picked(logits, label)
    return jnp.where(label != IGNORE_LABEL, losses, 0).sum() / denominator(label)

  return form


def _one_hot(logits: jax.Array, label: jax.Array) -> jax.Array:
  """The textbook's form: every probability's logarithm, times a one-hot label."""
  logits = resize(logits, label.shape[1:], align_corners=True)
  one_hot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)  # 0 where ignored
  return -(one_hot * jax.nn.log_softmax(logits)).sum() / denominator(label)


# The first is what the others are compared with.
FORMS: dict[str, Form] = {
  'as the step has it': _of_the_step,
  'in cells': functools.partial(_in_cells, flat=False),
  'in cells, flat': functools.partial(_in_cells, flat=True),
  f'chunks of {CHUNK_ROWS} rows': _in_chunks,
  'upsampled, gather': _upsampled(gathered_logit),
  'upsampled, select': _upsampled(picked_logit),
  'upsampled, log-softmax and one-hot': _one_hot,
}


def measure(case: work.Case, rounds: int) -> dict[str, Any]:
  """Times every form in turn."""
  side = math.ceil(case.size / 8)
  shape = case.batch, side, side, case.num_classes
  logits = 3 * jax.random.normal(jax.random.key(0), shape)
  label = jax.device_put(work.pixels(case)[1])
  programs, gradients, temporaries = {}, {}, {}
  for name, form in FORMS.items():
    compiled = jax.jit(jax.value_and_grad(form)).lower(logits, label).compile()
    temporaries[name] = compiled.memory_analysis().temp_size_in_bytes
    programs[name] = _program(compiled, logits, label)
    gradients[name] = compiled(logits, label)[1]
  first = next(iter(FORMS))
  scale = jnp.abs(gradients[first]).max()
  results = {}
  for name, times in alternate(programs, rounds).items():
    differ = jnp.abs(gradients[name] - gradients[first]).max() / scale
    results[name] = summary(times) | {
      'temporary_bytes': temporaries[name],
      'gradients_differ': float(differ),
    }
  about = f'{case.num_classes} classes, logits of {side}², labels of {case.size}²'
  return {'case': f'loss of one head with its gradient, batch {case.batch}, {about}'} | {
    'results': results
  }


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The forms as rows of a table."""
  own = next(iter(measured['results'].values()))['seconds']
  for name, found in measured['results'].items():
    yield [
      name,
      f'{1e3 * found["seconds"]:.2f}',
      f'{1e3 * found["from"]:.2f}–{1e3 * found["to"]:.2f}',
      f'{found["temporary_bytes"] / 2**20:.0f}',
      f'{found["seconds"] / own:.2f}',
      f'{found["gradients_differ"]:.0e}',
    ]


def _program(compiled: Any, logits: jax.Array, label: jax.Array) -> Program:
  last: list[Any] = []

  def run() -> None:
    last[:] = [compiled(logits, label)]

  return Program(run, lambda: jax.block_until_ready(last))
