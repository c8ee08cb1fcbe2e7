"""Makes parts of scaled and rotated images and labels, without making the rest of the image.

The steps and their rounding are OpenCV's: cv2.resize, then cv2.warpAffine. Each computes only what
the next one looks at. A single warp in place of the two would be sharper, as it interpolates once.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL

_BLUR = np.array([1, 4, 6, 4, 1]) / 16  # OpenCV's Gaussian of size 5 and sigma 0


@dataclasses.dataclass(frozen=True)
class Canvas:
  """An image after scaling and rotation, which turns it about its middle and keeps its size."""

  height: int
  width: int
  scale: tuple[float, float]  # size of the canvas over that of the image, down and to the right
  angle: float  # degrees, counter-clockwise; 0: not rotated


def warp_image(
  image: np.ndarray,
  canvas: Canvas,
  rows: range,
  columns: range,
  *,
  colour: tuple[float, ...],
  blur: bool,
) -> np.ndarray:
  """Makes these rows and columns of the canvas, interpolated linearly, perhaps blurred.

  Args:
    image: uint8 or float32 [H, W, 3].
    canvas: what it becomes.
    rows, columns: the part of the canvas to make.
    colour: what rotation uncovers gets it.
    blur: whether to blur with a 5x5 Gaussian.

  Returns:
    [len(rows), len(columns), 3], of the image's dtype.
  """
  # The blur looks two pixels over the edge of the part, but not over the edge of the canvas.
  halo = len(_BLUR) // 2 if blur else 0
  wide_rows, wide_columns = _grow(rows, halo, canvas.height), _grow(columns, halo, canvas.width)
  # OpenCV warps four channels in half the time that it takes for three.
  part = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
  if canvas.angle:
    matrix, *window = _unrotate(canvas, wide_rows, wide_columns)
    part = _resize_image(part, canvas, *window)
    part = cv2.warpAffine(
      part,
      matrix,
      (len(wide_columns), len(wide_rows)),
      flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
      borderMode=cv2.BORDER_CONSTANT,
      borderValue=(*colour, 0),
    )
  else:
    part = _resize_image(part, canvas, wide_rows, wide_columns)
  part = cv2.cvtColor(part, cv2.COLOR_RGBA2RGB)
  if blur:
    # cv2.GaussianBlur at half the cost: the little more has it, too, round a half up.
    part = cv2.sepFilter2D(part, -1, _BLUR, _BLUR, delta=1e-3 if part.dtype == np.uint8 else 0)
  top, left = rows.start - wide_rows.start, columns.start - wide_columns.start
  return part[top : top + len(rows), left : left + len(columns)]


def warp_label(label: np.ndarray, canvas: Canvas, rows: range, columns: range) -> np.ndarray:
  """Does the same to a label uint8 [H, W]: nearest neighbours; rotation uncovers IGNORE_LABEL."""
  if not canvas.angle:
    return _resize_label(label, canvas, rows, columns)
  matrix, *window = _unrotate(canvas, rows, columns)
  return cv2.warpAffine(
    _resize_label(label, canvas, *window),
    matrix,
    (len(columns), len(rows)),
    flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_CONSTANT,
    borderValue=IGNORE_LABEL,
  )


def _resize_image(image: np.ndarray, canvas: Canvas, rows: range, columns: range) -> np.ndarray:
  # Pixel centres: x on the canvas is (x + 0.5) / scale - 0.5 in the image.
  down, right = canvas.scale
  matrix = np.array([[1 / right, 0, 0.5 / right - 0.5], [0, 1 / down, 0.5 / down - 0.5], [0, 0, 1]])
  return cv2.warpAffine(
    image,
    (matrix @ _shift(columns.start, rows.start))[:2],
    (len(columns), len(rows)),
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )


def _resize_label(label: np.ndarray, canvas: Canvas, rows: range, columns: range) -> np.ndarray:
  y, x = (
    np.floor(np.asarray(pixels) * (1 / scale)).astype(np.intp)
    for pixels, scale in zip((rows, columns), canvas.scale, strict=True)
  )
  return label.take(y, 0, mode='clip').take(x, 1, mode='clip')


def _unrotate(canvas: Canvas, rows: range, columns: range) -> tuple[np.ndarray, range, range]:
  """Finds where a part of the canvas lies before rotation.

  Returns:
    float64 [2, 3] from the part to a window of the unrotated canvas; the window's rows and columns.
  """
  # semseg's centre, half a pixel right of and below the middle of the canvas
  rotation = cv2.getRotationMatrix2D((canvas.width / 2, canvas.height / 2), canvas.angle, 1)
  matrix = np.linalg.inv(np.vstack([rotation, (0, 0, 1)])) @ _shift(columns.start, rows.start)
  right, bottom = len(columns) - 1, len(rows) - 1
  corners = matrix @ [[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]]
  (x0, y0, _), (x1, y1, _) = np.floor(corners.min(1)), np.ceil(corners.max(1))
  window_rows = _grow(range(int(y0), int(y1) + 1), 1, canvas.height)
  window_columns = _grow(range(int(x0), int(x1) + 1), 1, canvas.width)
  matrix = _shift(-window_columns.start, -window_rows.start) @ matrix
  return matrix[:2], window_rows, window_columns


def _grow(pixels: range, by: int, size: int) -> range:
  """Takes more pixels on both sides, as far as there are any; the range is never empty."""
  start = min(max(pixels.start - by, 0), size - 1)
  return range(start, max(min(pixels.stop + by, size), start + 1))


def _shift(x: int, y: int) -> np.ndarray:
  return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
