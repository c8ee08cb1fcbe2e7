"""Work done in several threads, a little ahead of its use, with the results in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import cv2
import grain


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
  for [result] in iterate(rows, 1, list, threads=threads, buffer_size=2):
    yield result


def iterate(
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
