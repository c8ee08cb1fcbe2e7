"""TensorBoard event files, on every install.

Through `clu.metric_writers` where TensorFlow is importable, otherwise through tensorboardX; the
files read the same. Nothing else in the package imports TensorFlow, and this only where a user has
installed it and asks for event files: training with it blocked is tested (tests/test_structure.py).
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class EventWriter(Protocol):
  """Appends to one event file; any method may raise OSError."""

  def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None: ...

  def images(self, step: int, images: Mapping[str, np.ndarray], wall_time: float) -> None:
    """images: uint8 [H, W, 3]."""

  def text(self, step: int, tag: str, markdown: str, wall_time: float) -> None: ...

  def flush(self) -> None: ...

  def close(self) -> None: ...


def open_event_file(logdir: Path, *, start_step: int = 0) -> EventWriter:
  """Opens a new event file in `logdir`, which is made if need be.

  Args:
    logdir: the folder to give TensorBoard.
    start_step: the step that a run goes on from. TensorBoard is told to forget what earlier files
      of the folder hold of later steps, which will be written again.

  Raises:
    OSError: if the folder or file cannot be made.
  """
  logdir.mkdir(parents=True, exist_ok=True)
  plain = _TensorBoardX(logdir)
  plain.session_start(start_step)
  if importlib.util.find_spec('tensorflow') is None:
    return plain
  try:
    writer = _Clu(logdir)
  except ImportError:  # a TensorFlow that is there but does not load
    return plain
  plain.close()
  return writer


class _TensorBoardX:
  """tensorboardX's encodings with a file of our own.

  Its SummaryWriter hands events to a thread through a bounded queue: a full disk ends the thread,
  and the training loop would wait for it forever.
  """

  def __init__(self, logdir: Path):
    # Here, since it takes seconds where torch is installed: tensorboardX imports it.
    from tensorboardX import summary
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter

    self._summary, self._proto = summary, event_pb2
    # TensorBoard reads a folder's files in the order of their names.
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    name = f'events.out.tfevents.{seconds}.{nanoseconds:09d}.{socket.gethostname()}.{os.getpid()}'
    self.path = logdir / name
    self._file = RecordWriter(str(self.path))
    self._write(event_pb2.Event(wall_time=time.time(), file_version='brain.Event:2'))
    self._file.flush()

  def _write(self, event: Any) -> None:
    self._file.write(event.SerializeToString())

  def session_start(self, step: int) -> None:
    """Makes TensorBoard forget later steps, if there was a session before this one."""
    log = self._proto.SessionLog(status=self._proto.SessionLog.START)
    self._write(self._proto.Event(wall_time=time.time(), step=step + 1, session_log=log))

  def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
    for tag, value in values.items():
      summary = self._summary.scalar(tag, value)
      self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def images(self, step: int, images: Mapping[str, np.ndarray], wall_time: float) -> None:
    for tag, image in images.items():
      summary = self._summary.image(tag, image, dataformats='HWC')
      self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def text(self, step: int, tag: str, markdown: str, wall_time: float) -> None:
    summary = self._summary.text(tag, markdown)
    self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def flush(self) -> None:
    self._file.flush()

  def close(self) -> None:
    self._file.close()


class _Clu:
  """clu.metric_writers over TensorFlow; wall times are those of writing."""

  def __init__(self, logdir: Path):
    import tensorflow as tf
    from clu import metric_writers

    try:  # JAX needs the accelerators' memory; TensorFlow would take all of it
      tf.config.set_visible_devices([], 'GPU')
      tf.config.set_visible_devices([], 'TPU')
    except RuntimeError:  # TensorFlow is in use already: its user has decided
      pass
    self._errors = tf.errors.OpError
    self._writer = metric_writers.SummaryWriter(os.fspath(logdir))

  def _call(self, method: Callable[..., None], *args: Any) -> None:
    try:
      method(*args)
    except self._errors as e:
      raise OSError(str(e)) from e

  def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
    del wall_time
    self._call(self._writer.write_scalars, step, values)

  def images(self, step: int, images: Mapping[str, np.ndarray], wall_time: float) -> None:
    del wall_time
    self._call(self._writer.write_images, step, images)

  def text(self, step: int, tag: str, markdown: str, wall_time: float) -> None:
    del wall_time
    self._call(self._writer.write_texts, step, {tag: markdown})

  def flush(self) -> None:
    self._call(self._writer.flush)

  def close(self) -> None:
    self._call(self._writer.close)
