"""Upsampling and cross-entropy of the logits with their gradient, in several forms.

Two thirds of what a loss costs is memory traffic of logits at the image's size: which form a device
is fastest with is a matter of what its compiler keeps out of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import work
from benchmarks.timing import Program, alternate, summary
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.ops.images import resize
from pspnet_jax.training.losses import SegmentationLoss
from pspnet_jax.training.pixel_losses import denominator

COLUMNS = ('form', 'ms', 'middle half', 'temporaries, MB', 'of the first', 'gradients differ')
CHUNK_ROWS = 32
Form = Callable[[jax.Array, jax.Array], jax.Array]  # logits [N, h, w, C], label [N, H, W] -> loss


def _of_the_step(chunk_rows: int = 0) -> Form:
  """The loss as `training.step` calls it."""

  def form(logits: jax.Array, label: jax.Array) -> jax.Array:
    loss = SegmentationLoss(chunk_rows=chunk_rows)
    logits = logits if chunk_rows else resize(logits, label.shape[1:], align_corners=True)
    return loss(logits, label, loss.denominators(label))['loss']

  return form


def _plain(picked: Callable[[jax.Array, jax.Array], jax.Array]) -> Form:
  """Log-sum-exp of the upsampled logits less what `picked` takes from them."""

  def form(logits: jax.Array, label: jax.Array) -> jax.Array:
    logits = resize(logits, label.shape[1:], align_corners=True)
    valid = label != IGNORE_LABEL
    index = jnp.where(valid, label, 0).astype(jnp.int32)
    losses = jax.nn.logsumexp(logits, axis=-1) - picked(logits, index)
    return jnp.where(valid, losses, 0).sum() / denominator(label)

  return form


def _gather(logits: jax.Array, index: jax.Array) -> jax.Array:
  return jnp.take_along_axis(logits, index[..., None], axis=-1, mode='clip')[..., 0]


def _select(logits: jax.Array, index: jax.Array) -> jax.Array:
  classes = jnp.arange(logits.shape[-1])
  return jnp.where(classes == index[..., None], logits, 0).sum(-1)


def _one_hot(logits: jax.Array, label: jax.Array) -> jax.Array:
  """The textbook's form: every probability's logarithm, times a one-hot label."""
  logits = resize(logits, label.shape[1:], align_corners=True)
  one_hot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)  # 0 where ignored
  return -(one_hot * jax.nn.log_softmax(logits)).sum() / denominator(label)


# The first is what the others are compared with.
FORMS: dict[str, Form] = {
  'as the step has it': _of_the_step(),
  'log-sum-exp and gather': _plain(_gather),
  'log-sum-exp and select': _plain(_select),
  'log-softmax and one-hot': _one_hot,
  f'chunks of {CHUNK_ROWS} rows': _of_the_step(CHUNK_ROWS),
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
