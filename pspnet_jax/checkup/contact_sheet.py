"""Draws many examples on one page: image and label side by side, what is noteworthy above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures import legends
from pspnet_jax.pictures.labels import colour, ignore_colour, overlay
from pspnet_jax.pictures.legends import PAPER, LegendEntry

_TILE = (300, 225)  # width and height in which an image is shown
_COLUMNS, _GAP, _TEXT = 2, 14, 15
_MISSING = (236, 236, 236)
_RULE = (200, 60, 60)  # the mark of what is wrong


class Tile(NamedTuple):
  """An example on the page. What cannot be read is None and shown as an empty frame."""

  image: np.ndarray | None  # uint8 [H, W, 3]
  label: np.ndarray | None  # uint8 [H, W], class ids and 255
  title: str
  text: str = ''  # below the title: what is wrong; the label is shown by itself then


def draw(sections: Sequence[tuple[str, Sequence[Tile]]], spec: DatasetSpec) -> np.ndarray:
  """Draws the page.

  Args:
    sections: headings and what stands below them; empty ones are left out. The tiles of a section
      all have a text or none.
    spec: has names and colours of the classes, which are listed at the end.

  Returns:
    uint8 [h, w, 3].
  """
  cell = 2 * _TILE[0] + 4
  width = _COLUMNS * cell + (_COLUMNS + 1) * _GAP
  parts = []
  for heading, tiles in sections:
    if not tiles:
      continue
    parts.append(legends.line(heading, width, _TEXT * 3 // 2))
    for i in range(0, len(tiles), _COLUMNS):
      drawn = [_draw_tile(tile, cell, spec) for tile in tiles[i : i + _COLUMNS]]
      row = np.full((drawn[0].shape[0] + _GAP, width, 3), PAPER, np.uint8)
      for j, picture in enumerate(drawn):
        left = _GAP + j * (cell + _GAP)
        row[: picture.shape[0], left : left + cell] = picture
      parts.append(row)
  names = zip(spec.class_names, spec.palette, strict=True)
  entries = [LegendEntry(name, '', (r, g, b)) for name, (r, g, b) in names]
  entries.append(LegendEntry('ignored', '', ignore_colour(spec)))
  height = sum(part.shape[0] for part in parts)
  return np.concatenate([*parts, legends.draw(entries, (height, width), _TEXT)])


def _draw_tile(tile: Tile, width: int, spec: DatasetSpec) -> np.ndarray:
  """uint8 [h, width, 3], of the same height for all tiles with a text and all without."""
  header = legends.line(tile.title, width, _TEXT)
  if tile.text:
    text = tile.text.replace('×', 'x')  # Pillow's font lacks it
    header = np.concatenate([header, legends.line(text, width, _TEXT - 2)])
    header[:, :4] = _RULE
  image, label = tile.image, tile.label
  right = label if label is None else colour(label, spec)
  if image is not None and label is not None and not tile.text:
    right = overlay(image, label, spec, alpha=0.6, legend=False)
  pictures = np.full((_TILE[1], width, 3), PAPER, np.uint8)
  pictures[:, : _TILE[0]] = _fit(image, smooth=True)
  pictures[:, -_TILE[0] :] = _fit(right, smooth=False)
  return np.concatenate([header, pictures])


def _fit(picture: np.ndarray | None, *, smooth: bool) -> np.ndarray:
  """The whole picture in the middle of a tile: uint8 [h, w, 3]."""
  tile = np.full((_TILE[1], _TILE[0], 3), _MISSING, np.uint8)
  if picture is None:
    text = legends.headings(['cannot be read'], _TILE[0] - 4, 0, _TEXT)
    tile[2:-2, 2:-2] = PAPER
    top = (_TILE[1] - text.shape[0]) // 2
    tile[top : top + text.shape[0], 2:-2] = text
    return tile
  height, width = picture.shape[:2]
  scale = min(_TILE[0] / width, _TILE[1] / height)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
  resized = np.asarray(Image.fromarray(picture).resize(size, method))
  top, left = (_TILE[1] - size[1]) // 2, (_TILE[0] - size[0]) // 2
  tile[top : top + size[1], left : left + size[0]] = resized
  return tile
