"""Batches from a data source, shuffled and augmented; and anything at all, in order, ahead of use.

A training batch is a function of (seed, step, process) and of nothing else: Grain's shuffle is a
permutation keyed by the epoch, and the random numbers of an example by its place in the stream. So
a run goes on from any step at once, and the number of threads changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import cv2
import grain
import numpy as np

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
    seed: of the order and of the random numbers; 0 to 2**32 - 1.
    start_step: the step of the first batch; any, at no cost.
    process_index: which of the processes this is.
    process_count: how many processes share a batch.
    threads: that read and transform; 0 does it in the caller's, None has one a CPU core.
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
  return _iterate(rows, local, _stack, threads=threads, buffer_size=prefetch * local)


def in_order(
  function: Callable[[Any], Any], items: Sequence[Any], *, threads: int | None = None
) -> Iterator[Any]:
  """`map(function, items)`, a little ahead and in several threads.

  Args:
    function: safe to call from several threads, such as a source's `__getitem__`.
    items: its arguments.
    threads: how many; 0 works in the caller's, None has one a CPU core.

  Raises:
    UserError: and whatever else the function raises, when its result is due.
  """
  rows = grain.MapDataset.range(len(items)).map(lambda i: function(items[i]))
  for [result] in _iterate(rows, 1, list, threads=threads, buffer_size=2):
    yield result


def _local_batch_size(batch_size: int, process_index: int, process_count: int) -> int:
  if not 0 <= process_index < process_count:
    raise UserError(f'{process_index=} must lie between 0 and {process_count=} - 1.')
  if batch_size < 1 or batch_size % process_count:
    raise UserError(f'{batch_size=} must be a multiple of {process_count=}: change batch_size.')
  return batch_size // process_count


def _iterate(
  rows: grain.MapDataset,
  batch_size: int,
  batch_fn: Callable[[list[Any]], Any],
  *,
  threads: int | None,
  buffer_size: int,
) -> Generator[Any]:
  if threads is None:
    threads = min(os.cpu_count() or 1, 16)
  # Each thread works on an image of its own: OpenCV's threads on top would only get in the way.
  cv2.setNumThreads(1)
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(buffer_size, threads))
  examples = rows.to_iter_dataset(options, allow_nones=True)
  iterator = iter(examples.batch(batch_size, batch_fn=batch_fn))
  try:
    yield from iterator
  finally:
    iterator.close()  # cancels what was prefetched and lets the threads end


def _stack(examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  return {name: np.stack([example[name] for example in examples]) for name in examples[0]}
