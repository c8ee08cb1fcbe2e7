"""Draws a confusion matrix: which classes are taken for which."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures.legends import INK, PAPER, shorten

_DARK = np.array((8, 48, 107))  # the colour of 100 %
_WITH_NUMBERS = 30  # classes at most: with more, cells are too small for numbers


def draw(confusion: np.ndarray, spec: DatasetSpec) -> np.ndarray:
  """Draws the share of each label's pixels that was predicted as each class.

  Args:
    confusion: int64 [C, C], rows are labels.
    spec: has the names of the classes.

  Returns:
    uint8 [h, w, 3]. A class that no label shows has an empty row.
  """
  count = spec.num_classes
  cell, size = (44, 14) if count <= _WITH_NUMBERS else (13, 11)
  font = ImageFont.load_default(size)
  names = [shorten(name, font, 12 * size) for name in spec.class_names]
  longest = int(max(font.getlength(name) for name in names))
  pad = size
  left, top = longest + 3 * pad, longest + 5 * pad  # where the first cell begins
  side = count * cell
  picture = Image.new('RGB', (left + side + 2 * pad, top + side + 2 * pad), PAPER)
  pen = ImageDraw.Draw(picture)
  caption = "Share of a label's pixels (row) predicted as a class (column), in %"
  pen.text((pad, pad), caption, INK, ImageFont.load_default(size + 2))

  total = confusion.sum(1, keepdims=True)
  share = np.divide(confusion, total, out=np.zeros(confusion.shape), where=total > 0)
  # The root makes confusions of a few percent visible.
  colours = np.round(255 + (_DARK - 255) * np.sqrt(share)[..., None]).astype(np.uint8)
  cells = colours.repeat(cell, 0).repeat(cell, 1)
  cells[cell - 1 :: cell] = cells[:, cell - 1 :: cell] = PAPER
  picture.paste(Image.fromarray(cells), (left, top))
  for row in range(count):
    y = top + row * cell
    pen.text((left - pad, y + cell / 2), names[row], INK, font, anchor='rm')
    for column in range(count) if count <= _WITH_NUMBERS else ():
      x, value = left + column * cell, float(share[row, column])
      if value >= 0.005:
        ink = PAPER if value > 0.2 else INK
        pen.text((x + cell / 2 - 1, y + cell / 2), f'{100 * value:.0f}', ink, font, anchor='mm')
  for column, name in enumerate(names):
    strip = Image.new('RGB', (longest + pad, size + 4), PAPER)
    ImageDraw.Draw(strip).text((0, (size + 4) / 2), name, INK, font, anchor='lm')
    upright = strip.rotate(90, expand=True)
    x = left + column * cell + (cell - size - 4) // 2
    picture.paste(upright, (x, top - upright.height - 4))
  return np.asarray(picture)
