"""Writes pictures as a video that browsers and players show, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from pspnet_jax.errors import UserError, cannot_write

_OURS = b'pspnet_jax '  # a box of an MP4 file that players skip begins so, and the mark follows
_LONGEST = 256  # bytes of that box


@contextlib.contextmanager
def video_file(path: Path, rate: float, mark: str = '') -> Iterator[Callable[[np.ndarray], None]]:
  """Yields a function that adds a frame, uint8 [H, W, 3], to a video that gets its name at the end.

  The video is VP9 in MP4, which OpenCV can write wherever it comes from, without sound. Sides have
  to be even there: an odd one gets a last line twice.

  Args:
    path: with the extension .mp4.
    rate: frames a second.
    mark: for `mark_of`.

  Raises:
    UserError: if it cannot be written.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.', suffix='.part', dir=path.parent) as folder:
      part = Path(folder) / 'video.mp4'
      writer = None

      def add(frame: np.ndarray) -> None:
        nonlocal writer
        height, width = frame.shape[:2]
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
        if writer is None:
          code = cv2.VideoWriter.fourcc(*'vp09')
          writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, code, rate, frame.shape[1::-1])
          if not writer.isOpened():
            raise UserError(
              f'{path} cannot be written: this OpenCV has no encoder for VP9: install '
              'opencv-python-headless from PyPI.'
            )
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

      try:
        yield add
      finally:
        if writer is not None:
          writer.release()
      content = _OURS + mark.encode()
      with part.open('ab') as file:
        file.write((8 + len(content)).to_bytes(4, 'big') + b'free' + content)
        file.flush()
        os.fsync(file.fileno())
      part.replace(path)
  except OSError as e:
    raise cannot_write(path, e) from e


def mark_of(path: Path) -> str | None:
  """Returns the mark that a video was written here with; None if it was not."""
  try:
    with path.open('rb') as file:
      file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST))
      _, found, mark = file.read().rpartition(b'free' + _OURS)
  except OSError:
    return None
  return mark.decode(errors='replace') if found else None
