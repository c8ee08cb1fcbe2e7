"""Reads the frames of a video file, with OpenCV's copy of FFmpeg."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import PIXELS

VIDEO_SUFFIXES = (
  *('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv', '.ogv', '.ts'),
)
# FFmpeg prints what it cannot decode, beside the sentence about it; OpenCV looks here only once,
# when it first reads or writes a video.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
_USUAL_RATE = 25.0  # frames a second, where a file does not say


class Video(NamedTuple):
  """What the header of a video file says."""

  frames_per_second: float
  frames: int  # as announced, which is not always true; 0 if it is not


def is_video(path: Path) -> bool:
  """Whether a name is that of a video file."""
  return path.suffix.lower() in VIDEO_SUFFIXES


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Video, Iterator[np.ndarray]]]:
  """Opens a video file: what its header says, and its frames, RGB uint8 [H, W, 3], upright.

  Raises:
    UserError: if there is no such file, it is no video, holds no frame or too large ones; for a
      frame of another size than the first, when it is due.
  """
  if not path.is_file():
    raise UserError(f'{path} is no file: give a video or an image.')
  before = cv2.utils.logging.getLogLevel()
  cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
  try:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
      yield _opened(path, capture)
    finally:
      capture.release()
  finally:
    cv2.utils.logging.setLogLevel(before)


def _opened(path: Path, capture: Any) -> tuple[Video, Iterator[np.ndarray]]:
  width, height = (
    int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
  )
  if excess := PIXELS.exceeded_by(max(width, 0) * max(height, 0)):
    raise UserError(f'{path} has frames of {excess}.')
  there, first = capture.read() if capture.isOpened() else (False, None)
  if not there or first is None:
    raise UserError(
      f'{path} is no video that can be decoded, or has no frame: give {", ".join(VIDEO_SUFFIXES)}, '
      'or copy it again.'
    )
  rate, count = (capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
  said = Video(
    rate if math.isfinite(rate) and 0 < rate <= 1000 else _USUAL_RATE,
    int(count) if math.isfinite(count) and count > 0 else 0,
  )
  return said, _frames(path, capture, first)


def _frames(path: Path, capture: Any, first: np.ndarray) -> Iterator[np.ndarray]:
  frame, there = first, True
  while there:
    if frame.shape != first.shape:
      raise UserError(f'{path} changes the size of its frames: cut it where it does.')
    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    there, frame = capture.read()
