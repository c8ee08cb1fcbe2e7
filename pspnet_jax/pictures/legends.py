"""Text for pictures: a legend of classes, headings; drawn with the font that Pillow brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pspnet_jax.runtime.plain_text import printable

PAPER = (255, 255, 255)
INK, _GREY = (24, 24, 24), (140, 140, 140)
_MIN_ROWS = 8
_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


class LegendEntry(NamedTuple):
  """One line of a legend."""

  name: str
  share: str  # after the name, in grey; may be empty
  colour: tuple[int, int, int]


def text_size(width: int) -> int:
  """A size in pixels that reads well on a picture of this width.

  Pictures wider than a screen are shown reduced, and their text has to stand that.
  """
  return int(np.clip(width // 45, 13, max(36, width // 75)))


def draw(entries: Sequence[LegendEntry], shape: tuple[int, ...], size: int) -> np.ndarray:
  """Draws a legend to go below a picture.

  Entries run down the columns, in as many columns as fit. Names too long for half the width are
  shortened, and a legend that would be higher than its picture ends in `and 12 more`.

  Args:
    entries: what to list, the most important first.
    shape: height and width of the picture, in pixels.
    size: height of the text in pixels.

  Returns:
    uint8 [h, width, 3].
  """
  height, width = shape[:2]
  font = ImageFont.load_default(size)
  pad, step = size // 2, size * 3 // 2
  swatch = size + pad  # and the space after it
  # Where one column is enough, a name may take all of the width.
  room = (width - pad) // (2 if len(entries) > 3 else 1) - swatch - 3 * pad
  names = [
    shorten(e.name, font, room - font.getlength(f' {e.share}' if e.share else '')) for e in entries
  ]
  texts = [f'{name} {e.share}' if e.share else name for name, e in zip(names, entries, strict=True)]
  column = int(max((font.getlength(text) for text in texts), default=0)) + swatch + 3 * pad
  columns = max(1, min((width - pad) // column, len(entries)))
  rows = min(-(-len(entries) // columns), max(_MIN_ROWS, height // step))
  left_out = len(entries) - rows * columns
  listed = rows * columns - 1 if left_out > 0 else len(entries)

  picture = Image.new('RGB', (width, rows * step + 2 * pad), PAPER)
  pen = ImageDraw.Draw(picture)
  for i in range(listed):
    x, y = pad + i // rows * column, pad + i % rows * step
    top = y + (step - size) // 2
    pen.rectangle((x, top, x + size - 1, top + size - 1), entries[i].colour, _GREY)
    pen.text((x + swatch, y + step / 2), names[i], INK, font, anchor='lm')
    after = x + swatch + font.getlength(f'{names[i]} ')
    pen.text((after, y + step / 2), entries[i].share, _GREY, font, anchor='lm')
  if left_out > 0:
    x, y = pad + listed // rows * column, pad + listed % rows * step
    pen.text((x, y + step / 2), f'and {left_out + 1} more', _GREY, font, anchor='lm')
  return np.asarray(picture)


def headings(texts: Sequence[str], cell_width: int, gap: int, size: int) -> np.ndarray:
  """Texts centred over cells `gap` pixels apart; uint8 [h, width, 3]."""
  font = ImageFont.load_default(size)
  width = len(texts) * cell_width + (len(texts) - 1) * gap
  picture = Image.new('RGB', (width, size * 2), PAPER)
  pen = ImageDraw.Draw(picture)
  for i, text in enumerate(texts):
    middle = i * (cell_width + gap) + cell_width / 2
    pen.text((middle, size), shorten(text, font, cell_width), INK, font, anchor='mm')
  return np.asarray(picture)


def line(text: str, width: int, size: int) -> np.ndarray:
  """One line of text at the left; uint8 [h, width, 3]."""
  font = ImageFont.load_default(size)
  picture = Image.new('RGB', (width, size * 7 // 4), PAPER)
  text = shorten(text, font, width - size)
  ImageDraw.Draw(picture).text((size / 2, size * 7 / 8), text, INK, font, anchor='lm')
  return np.asarray(picture)


def shorten(text: str, font: _Font, width: float) -> str:
  """A text in one line no wider than `width` pixels, with dots in place of its end if need be."""
  text = printable(text)
  if len(text) <= width and font.getlength(text) <= width:
    return text
  text = text[: max(0, int(width))]  # no letter is narrower than a pixel
  while text and font.getlength(text + '...') > width:
    text = text[:-1]
  return text.rstrip(' ;,') + '...'
