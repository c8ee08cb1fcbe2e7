"""What a training step needs beside its state, by the technique that saves it.

Read off the compiled program, which is not run: the same for every start, and sizes that this
machine could not hold can be asked for too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import compiling, work
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.training import losses

COLUMNS = ('training step', 'temporaries, MB', 'compile, s')
CHUNK_ROWS = 32
VARIANTS: dict[str, dict[str, Any]] = {
  'as it is': {},
  'log_softmax and one-hot': {},
  f'chunks of {CHUNK_ROWS} rows': {'chunk_rows': CHUNK_ROWS},
  'remat': {'remat': True},
  'remat and chunks': {'chunk_rows': CHUNK_ROWS, 'remat': True},
}


def measure(case: work.Case) -> dict[str, Any]:
  """Every variant of a case."""
  results = {}
  on_cpu = jax.devices()[0].platform == 'cpu'
  for name, options in VARIANTS.items():
    if not on_cpu and ('log_softmax' in name or 'chunks' in name):
      continue  # accelerators have no logits of the image's size: these change nothing there
    with _log_softmax() if 'log_softmax' in name else contextlib.nullcontext():
      results[name] = compiling.measure(case, **options)
  return {'case': str(case), 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The variants as rows of a table."""
  for name, found in measured['results'].items():
    yield [name, f'{found["temporary_bytes"] / 2**20:.0f}', f'{found["compile"]:.1f}']


@contextlib.contextmanager
def _log_softmax() -> Iterator[None]:
  """The loss in its textbook form, in place of ours."""
  ours = losses.pixel_losses

  def textbook(logits: jax.Array, label: jax.Array) -> jax.Array:
    one_hot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    loss = -(one_hot * jax.nn.log_softmax(logits)).sum(-1)
    return jnp.where(label == IGNORE_LABEL, 0, loss)

  losses.pixel_losses = textbook
  try:
    yield
  finally:
    losses.pixel_losses = ours
