"""Writes the files of a run while it goes on: metrics.jsonl and TensorBoard's."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import SupportsFloat

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.reporting.copies import Copies
from pspnet_jax.reporting.event_files import EventFile
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.files import refuse_links, write_whole

_FLUSH_SECONDS = 10.0
_SENT_SECONDS = 60.0  # between copies to a bucket, beside those that `sync` asks for
_LARGEST_SENT = 8_000_000  # bytes of an event file after which a new one begins there
_log = logging.getLogger(__name__)


class RunFiles:
  """metrics.jsonl and an event file, written by one thread in the order of the calls.

  In a bucket they are copies of files here, sent now and then and by `sync`.

  Args:
    workdir: their folder, made if need be.
    start_step: the step that the run goes on from; records of later steps are removed.

  Raises:
    UserError: (all methods that the main thread calls) if a file cannot be written.
  """

  def __init__(self, workdir: Path, start_step: int):
    self._copies = Copies(workdir) if storage.is_remote(workdir) else None
    workdir = workdir if self._copies is None else self._copies.folder
    self._workdir, self._start_step, self._last_step = workdir, start_step, start_step
    self._jsonl_path = workdir / 'metrics.jsonl'
    self._events_path = workdir / 'events.out.tfevents.*'
    self._writing = self._jsonl_path  # the file to name if writing fails
    self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
    self._error: BaseException | None = None
    self._told = False
    self._thread = threading.Thread(target=self._work, name='reporting', daemon=True)

  def open(self) -> None:
    """Cleans up after a killed run, opens the files and starts the thread."""
    try:
      self._workdir.mkdir(parents=True, exist_ok=True)
      if self._copies is not None:
        self._copies.fetch(self._jsonl_path.name)
      refuse_links(self._workdir, [self._jsonl_path.name])
      forget_after(self._jsonl_path, self._start_step)
      self._jsonl = self._jsonl_path.open('a', encoding='utf-8')
      self._writing = self._events_path
      self._events = EventFile(self._workdir, start_step=self._start_step)
    except OSError as e:
      raise self._user_error(e) from e
    self._thread.start()

  def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
    """Writes scalars; they may be arrays still being computed, for which the thread waits."""
    wall_time, copy = time.time(), dict(values)
    self._put(lambda: self._write_scalars(step, copy, wall_time))

  def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes pictures, uint8 [H, W, 3]."""
    copies = {tag: np.array(image) for tag, image in images.items()}
    wall_time = time.time()
    self._put(lambda: self._events.images(step, copies, wall_time))

  def text(self, step: int, tag: str, markdown: str) -> None:
    wall_time = time.time()
    self._put(lambda: self._events.text(step, tag, markdown, wall_time))

  def sync(self) -> None:
    """Waits until what was written so far is in the bucket, where the files are in one."""
    if self._copies is None:
      return
    sent = threading.Event()
    self._put(self._send)
    self._put(sent.set)
    while not sent.wait(0.1) and self._thread.is_alive():
      pass
    self._raise_error()

  def close(self) -> None:
    """Waits until all is written."""
    if self._thread.is_alive():
      self._queue.put(None)
      self._thread.join()
    try:
      if not self._told:
        self._raise_error()
      if self._copies is not None and self._error is None:
        self._copies.send()
    finally:
      if self._copies is not None:
        self._copies.close()

  def _send(self) -> None:
    if self._copies is None:
      return
    self._events.flush()
    self._copies.send()
    if self._events.path.stat().st_size > _LARGEST_SENT:
      self._events.close()
      self._events = EventFile(self._workdir, start_step=self._last_step)

  def _put(self, write: Callable[[], None]) -> None:
    self._raise_error()
    self._queue.put(write)

  def _write_scalars(self, step: int, values: dict[str, SupportsFloat], wall_time: float) -> None:
    numbers = {k: v if isinstance(v, int) else float(v) for k, v in values.items()}
    finite = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    self._writing = self._jsonl_path
    if not self._jsonl_path.exists():
      _log.warning('%s was removed: a new one begins at step %d.', self._jsonl_path, step)
      self._jsonl.close()
      self._jsonl = self._jsonl_path.open('a', encoding='utf-8')
    record = {'step': step, 'time': round(wall_time, 3), **finite}
    self._jsonl.write(json.dumps(record, allow_nan=False) + '\n')
    self._jsonl.flush()
    self._writing = self._events_path
    if not self._events.path.exists():
      _log.warning('%s was removed: a new one begins at step %d.', self._events.path, step)
      self._events.close()
      self._events = EventFile(self._workdir, start_step=step - 1)
    self._events.scalars(step, numbers, wall_time)
    self._last_step = step

  def _work(self) -> None:
    flushed = sent = time.monotonic()
    try:
      with contextlib.ExitStack() as stack:
        stack.callback(lambda: self._events.close())
        stack.callback(lambda: self._jsonl.close())
        while True:
          with contextlib.suppress(queue.Empty):
            write = self._queue.get(timeout=_FLUSH_SECONDS)
            if write is None:
              return
            write()
          if time.monotonic() - flushed >= _FLUSH_SECONDS:
            self._events.flush()
            flushed = time.monotonic()
          if time.monotonic() - sent >= _SENT_SECONDS:
            try:
              self._send()
            except UserError as e:  # where a save needs it, the run ends
              _log.warning('%s', e)
            sent = time.monotonic()
    except BaseException as e:  # told to the main thread by its next call
      self._error = e

  def _raise_error(self) -> None:
    if self._error is None:
      return
    self._told = True
    if isinstance(self._error, OSError):
      raise self._user_error(self._error) from self._error
    raise self._error

  def _user_error(self, e: OSError) -> UserError:
    return UserError(
      f'{e.filename or self._writing} cannot be written ({e.strerror or e}): make room or choose '
      'another workdir.'
    )


def forget_after(path: Path, step: int) -> None:
  """Removes records of steps later than `step` from a metrics.jsonl, if there is one.

  A line that was not written to its end goes too. The file is replaced in one go, or left alone.
  """
  if not path.exists():
    return
  lines = path.read_text(encoding='utf-8', errors='replace').splitlines(keepends=True)
  kept = [line for line in lines if line.endswith('\n') and _step_of(line) <= step]
  if len(kept) == len(lines):
    return
  write_whole(path, ''.join(kept))
  _log.info('%s: removed %d records later than step %d', path, len(lines) - len(kept), step)


def _step_of(line: str) -> float:
  try:
    return int(json.loads(line)['step'])
  except (ValueError, TypeError, KeyError):
    return math.inf  # a machine that lost power leaves anything
