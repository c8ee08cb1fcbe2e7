"""Where windows lie along one axis, how their scores are resized, and the resizing of images."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal

import cv2
import numpy as np

Taps = tuple[np.ndarray, np.ndarray]  # index int [out, K], weight float64 [out, K]


def window_starts(size: int, window: int, stride: float) -> list[int]:
  """Where windows begin along an axis: every `stride` of a window, the last one flush with the end.

  The rule of semseg (tool/test.py), Caffe (scale_process.m) and mmsegmentation (slide_inference):
  ceil(window * stride) apart, as few windows as cover the axis.
  """
  step = math.ceil(window * stride)
  count = math.ceil(max(size - window, 0) / step) + 1
  return [min(i * step, max(size - window, 0)) for i in range(count)]


def matlab_taps(size_in: int, size_out: int) -> Taps:
  """The taps of MATLAB's imresize(..., 'bilinear').

  Its kernel is a triangle, wider where the image shrinks; edges are mirrored.
  """
  scale = size_out / size_in
  widening = min(scale, 1)
  width = 2 / widening
  centre = np.arange(1, size_out + 1) / scale + 0.5 * (1 - 1 / scale)  # counted from 1, as there
  index = np.floor(centre - width / 2).astype(int)[:, None] + np.arange(math.ceil(width) + 2)
  weight = np.maximum(1 - np.abs(centre[:, None] - index) * widening, 0)
  weight /= weight.sum(1, keepdims=True)
  there_and_back = np.r_[np.arange(size_in), np.arange(size_in)[::-1]]
  used = weight.any(0)
  return there_and_back[(index - 1) % (2 * size_in)][:, used], weight[:, used]


def resize_image(
  image: np.ndarray, size: tuple[int, int], how: Literal['float', 'uint8', 'matlab']
) -> np.ndarray:
  """Resizes uint8 [H, W, 3] to `size`; see `protocol.Protocol.resampling`. Float32 for 'float'."""
  if how == 'float':
    return cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
  if image.shape[:2] == size:
    return image
  if how == 'uint8':
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
  # imresize begins with the axis that shrinks most, and rounds to whole numbers after each.
  axes = sorted((0, 1), key=lambda axis: size[axis] / image.shape[axis])
  for axis in axes:
    index, weight = matlab_taps(image.shape[axis], size[axis])
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    parts = (
      np.take(image, i, axis) * w.reshape(shape) for i, w in zip(index.T, weight.T, strict=True)
    )
    image = np.clip(np.floor(functools.reduce(np.add, parts) + 0.5), 0, 255).astype(np.uint8)
  return image


def _ramp(window: int) -> np.ndarray:
  """The weight of each row of a window, float64: 1 in the middle, towards 0 at both borders."""
  return np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2


@dataclasses.dataclass(frozen=True)
class Piece:
  """Where the scores of a window go along one axis of the canvas, and how they are interpolated."""

  position: int  # where its first row lies on the canvas
  index: np.ndarray  # int32 [F, K], rows of the window
  weight: np.ndarray  # float32 [F, K]; 0 beyond the window and the image


class Axis:
  """One axis of an image on its way to windows and back.

  Windows overlap, and their mean is resized to the image. Both are linear, so a window's part of
  the result is known by itself: the resize's taps that fall into the window, times its share of the
  row among the windows that have it. Hence nothing is ever held at the size the windows are cut
  from.

  Args:
    size: length of the axis in the image.
    scaled: its length after resizing.
    window: its length in the network's input.
    stride: see `window_starts`.
    padding: see `protocol.Protocol`.
    taps: how scores are resized from `scaled` to `size`.
    mirrored: whether the scaled image is the mirror image along this axis.
    blend: see `protocol.Protocol`.
  """

  def __init__(
    self,
    size: int,
    scaled: int,
    window: int,
    stride: float,
    padding: Literal['centre', 'end', 'none'],
    taps: Taps,
    mirrored: bool = False,
    blend: bool = False,
  ):
    self.window = min(window, scaled) if padding == 'none' else window
    self.inner = max(scaled, self.window)  # what windows cover
    self.offset = (self.inner - scaled) // 2 if padding == 'centre' else 0
    self.starts = window_starts(self.inner, self.window, stride)
    self._profile = _ramp(self.window) if blend else np.ones(self.window)
    shared = np.zeros(self.inner)
    for start in self.starts:
      shared[start : start + self.window] += self._profile
    index, weight = taps
    if mirrored:
      index, weight = index[::-1], weight[::-1]
    self._index = index + self.offset  # [size, K]
    self._weight = weight / shared[self._index]
    self._spans = {start: self._span(start) for start in self.starts}
    self.longest = max(stop - first for first, stop in self._spans.values())

  def _span(self, start: int) -> tuple[int, int]:
    """First row of the image that a window has a part in, and the one after the last."""
    inside = (self._index >= start) & (self._index < start + self.window) & (self._weight > 0)
    rows = np.flatnonzero(inside.any(1))
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)

  def starts_within(self, first: int, stop: int) -> list[int]:
    """The windows that have a part in rows first..stop of the image."""
    spans = self._spans.items()
    return [start for start, (a, b) in spans if max(a, first) < min(b, stop)]

  def piece(self, start: int, first: int, stop: int, length: int, canvas: int) -> Piece:
    """A window's part in rows first..stop of the image, which lie at 0 of a canvas.

    Args:
      start: where the window begins.
      first, stop: rows of the image.
      length: rows of the piece, F; those in excess have no weight.
      canvas: rows of the canvas, at least F.
    """
    a, b = self._spans[start]
    a, b = max(a, first), min(b, stop)
    position = min(a - first, canvas - length)
    rows = first + position + np.arange(length)
    valid = (rows >= a) & (rows < b)
    rows = np.where(valid, rows, a)
    local = self._index[rows] - start
    valid = valid[:, None] & (local >= 0) & (local < self.window)
    local = np.where(valid, local, 0)
    weight = self._weight[rows] * self._profile[local]
    return Piece(position, local.astype(np.int32), np.where(valid, weight, 0).astype(np.float32))
