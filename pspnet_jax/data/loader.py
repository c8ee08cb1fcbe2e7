"""Endless training batches from a data source, shuffled and augmented.

A training batch is a function of (seed, step, process) and of nothing else: Grain's shuffle is a
permutation keyed by the epoch, and the random numbers of an example by its place in the stream. So
a run goes on from any step at once, and the number of threads changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator

import grain
import numpy as np

from pspnet_jax.data.in_order import iterate
from pspnet_jax.data.spec import Example, Source
from pspnet_jax.errors import UserError

Transform = Callable[[Example, np.random.Generator], dict[str, np.ndarray]]


def train_batches(
  source: Source,
  *,
  transform: Transform,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  threads: int | None = None,
  prefetch: int = 2,
  choose: Callable[[np.random.Generator], int] | None = None,
) -> Generator[dict[str, np.ndarray]]:
  """Endless training batches from step `start_step` on.

  The stream is one shuffled epoch after another, and a batch may reach from one into the next: no
  example is dropped, where hszhao/semseg drops the rest of each epoch. The global batch of a step
  is the concatenation of the batches of all processes.

  Args:
    source: what to read; indexed from several threads.
    transform: makes arrays of one size from an example and random numbers, such as an `Augment`.
    batch_size: global, over all processes.
    seed: decides the order and the random numbers; 0 to 2**32 - 1.
    start_step: the step of the first batch; any, at no cost.
    process_index: which of the processes this is.
    process_count: how many processes share a batch.
    threads: how many read and transform; 0 works in the caller's, None has one a CPU core.
    prefetch: batches to prepare ahead.
    choose: draws the index of each example, instead of shuffled epochs.

  Yields:
    The stacked arrays of `transform`: image uint8 [b, h, w, 3] and label uint8 [b, h, w], where b
    is batch_size / process_count.

  Raises:
    UserError: for an empty source, a batch that does not divide among the processes or a seed out
      of range; while iterating, whatever the source raises.
  """
  local = _local_batch_size(batch_size, process_index, process_count)
  if not len(source):
    raise UserError('the training data are empty: check the data folder and the split.')
  if start_step < 0:
    raise UserError(f'{start_step=} must not be negative.')
  if not 0 <= seed < 2**32:
    raise UserError(f'seed={seed} must lie between 0 and 2**32 - 1.')
  if choose is None:
    stream = grain.MapDataset.source(source).seed(seed).shuffle().repeat().random_map(transform)
  else:
    stream = (
      grain.MapDataset.range(sys.maxsize)
      .seed(seed)
      .random_map(lambda _, rng: transform(source[choose(rng)], rng))
    )

  def example(position: int) -> dict[str, np.ndarray]:
    step, row = divmod(position, local)
    return stream[(start_step + step) * batch_size + process_index * local + row]

  rows = grain.MapDataset.range(sys.maxsize // batch_size - start_step).map(example)
  return iterate(rows, local, _stack, threads=threads, buffer_size=prefetch * local)


def _local_batch_size(batch_size: int, process_index: int, process_count: int) -> int:
  if not 0 <= process_index < process_count:
    raise UserError(f'{process_index=} must lie between 0 and {process_count=} - 1.')
  if batch_size < 1 or batch_size % process_count:
    raise UserError(f'{batch_size=} must be a multiple of {process_count=}: change batch_size.')
  return batch_size // process_count


def _stack(examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  return {name: np.stack([example[name] for example in examples]) for name in examples[0]}
