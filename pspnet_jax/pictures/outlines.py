"""Draws lines between the classes of a label, seen on dark images and bright ones."""

from __future__ import annotations

import cv2
import numpy as np

_BRIGHT = 140  # grey, of 255


def line_width(shape: tuple[int, ...]) -> int:
  """A width in pixels that is seen in a picture of this height and width, shown on one screen."""
  return int(np.clip(round(max(shape[:2]) / 700), 1, 12))


def draw(picture: np.ndarray, label: np.ndarray, opacity: float = 1) -> np.ndarray:
  """Draws a line where a pixel's class differs from that of its neighbour to the right or below.

  The line is white where the picture is dark, and black where it is bright.

  Args:
    picture: uint8 [H, W, 3].
    label: uint8 [H, W].
    opacity: of the lines, 0 to 1.

  Returns:
    uint8 [H, W, 3], another array.
  """
  border = np.zeros(label.shape, np.uint8)
  border[:, :-1] = label[:, :-1] != label[:, 1:]
  border[:-1] |= label[:-1] != label[1:]
  width = line_width(label.shape)
  if width > 1:
    border = cv2.dilate(border, np.ones((width, width), np.uint8))
  # What a line looks like is decided for its surroundings: pixel by pixel it would fall to pieces.
  side = 8 * width + 1
  around = cv2.blur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (side, side))
  rows, columns = np.nonzero(border)
  ink = np.where(around[rows, columns] > _BRIGHT, 0, 255)[:, None]
  lines = picture.copy()
  lines[rows, columns] = np.round(opacity * ink + (1 - opacity) * picture[rows, columns])
  return lines
