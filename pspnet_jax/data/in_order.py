"""Does work in several threads, a little ahead of its use, and gives the results in order."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import cv2
import grain


def in_order(
  function: Callable[[Any], Any], items: Sequence[Any], *, threads: int | None = None
) -> Iterator[Any]:
  """Yields `map(function, items)`, computed a little ahead and in several threads.

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
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(buffer_size, threads))
  examples = rows.to_iter_dataset(options, allow_nones=True)
  iterator = iter(examples.batch(batch_size, batch_fn=batch_fn))
  with _OneThreadEach(), contextlib.closing(iterator):  # cancels what was prefetched at the end
    yield from iterator


class _OneThreadEach:
  """Keeps OpenCV from starting threads while anyone is in the block, and lets it again after.

  Each of our threads works on an image of its own: OpenCV's on top would only get in the way. The
  setting is the whole process's, and so the last to leave restores what the first one found.
  """

  _lock = threading.RLock()  # the garbage collector may end an iterator while this thread has it
  _inside, _before = 0, 0

  def __enter__(self) -> None:
    with self._lock:
      if not _OneThreadEach._inside:
        _OneThreadEach._before = cv2.getNumThreads()
        cv2.setNumThreads(1)
      _OneThreadEach._inside += 1

  def __exit__(self, *_: object) -> None:
    with self._lock:
      _OneThreadEach._inside -= 1
      if not _OneThreadEach._inside and cv2.getNumThreads() == 1:  # nobody else has changed it
        cv2.setNumThreads(_OneThreadEach._before)
