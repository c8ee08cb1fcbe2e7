"""Writes TensorBoard's event files: scalars, pictures and texts of a run.

The encodings are tensorboardX's. Its SummaryWriter hands events to a thread through a bounded
queue: a full disk ends the thread, and the training loop would wait for it forever. Here each call
writes, and raises what goes wrong.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.runtime.plain_text import encodable, printable

# Groups for names that have none in metrics.jsonl.
_GROUPED = {
  'images_per_second': 'time/images_per_second',
  'learning_rate': 'train/learning_rate',
}


class EventFile:
  """A new event file; any method may raise OSError.

  Args:
    logdir: the folder to give TensorBoard, made if need be.
    start_step: the step that a run goes on from. TensorBoard is told to forget what earlier files
      of the folder hold of later steps, which will be written again.

  Attributes:
    path: the file.
  """

  def __init__(self, logdir: Path, *, start_step: int = 0):
    # Imported here, since it takes seconds where torch is installed: tensorboardX imports that.
    from tensorboardX import summary
    from tensorboardX.proto import event_pb2, summary_pb2
    from tensorboardX.record_writer import RecordWriter

    self._summary, self._proto, self._values = summary, event_pb2, summary_pb2
    logdir.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads a folder's files in the order of their names.
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    name = f'events.out.tfevents.{seconds}.{nanoseconds:09d}.{socket.gethostname()}.{os.getpid()}'
    self.path = logdir / name
    self._file = RecordWriter(str(self.path))
    self._write(event_pb2.Event(wall_time=time.time(), file_version='brain.Event:2'))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(event_pb2.Event(wall_time=time.time(), step=start_step + 1, session_log=start))
    self._file.flush()

  def _write(self, event: Any) -> None:
    self._file.write(event.SerializeToString())

  def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
    """Writes numbers, each in the group that stands before the first '/' of its name."""
    for name, value in values.items():
      # Not by tensorboardX's summary.scalar, which has no spaces in names.
      named = self._values.Summary.Value(
        tag=printable(_GROUPED.get(name, name)), simple_value=value
      )
      summary = self._values.Summary(value=[named])
      self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def images(self, step: int, images: Mapping[str, np.ndarray], wall_time: float) -> None:
    """Writes pictures, uint8 [H, W, 3]."""
    for tag, image in images.items():
      summary = self._summary.image(printable(tag), image, dataformats='HWC')
      self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def text(self, step: int, tag: str, markdown: str, wall_time: float) -> None:
    text = encodable(markdown, 'utf-8')  # protobuf takes no halves of characters
    summary = self._summary.text(printable(tag), text)
    self._write(self._proto.Event(wall_time=wall_time, step=step, summary=summary))

  def flush(self) -> None:
    self._file.flush()

  def close(self) -> None:
    self._file.close()
