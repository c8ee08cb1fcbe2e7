"""The structure of a PNG file: its header, its chunks, and whether every checksum is right."""

from __future__ import annotations

import dataclasses
import zlib

SIGNATURE = b'\x89PNG\r\n\x1a\n'
GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6  # colour types
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, 4: 2, RGBA: 4}
_TEXT = {b'eXIf', b'tEXt', b'zTXt', b'iTXt'}  # where EXIF and XMP data may be
_HIGHEST_RATIO = 1032  # of zlib's: 258 bytes in two bits


@dataclasses.dataclass(frozen=True)
class Png:
  """What a PNG file holds.

  Attributes:
    width, height: in pixels.
    depth: bits a sample.
    colour: its colour type.
    frames: 1, or more of an animation.
    colours: the palette, three bytes a colour, if there is one.
    has_metadata: whether there may be EXIF or XMP data.
  """

  width: int
  height: int
  depth: int
  colour: int
  frames: int
  colours: bytes
  has_metadata: bool


def parse(data: bytes) -> Png | None:
  """Walks the chunks; None if one is damaged or missing, of which Pillow looks at few.

  Nor may the header claim more pixels than the compressed data can hold.
  """
  at, view = len(SIGNATURE), memoryview(data)
  header, colours, frames, compressed, has_metadata = b'', b'', 1, 0, False
  while at + 12 <= len(data):
    end = at + 8 + int.from_bytes(data[at : at + 4], 'big')
    if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
      return None
    kind = data[at + 4 : at + 8]
    if kind == b'IDAT':
      compressed += end - at - 8
    elif kind == b'IHDR':
      header = header or data[at + 8 : end]
    elif kind == b'PLTE':
      colours = data[at + 8 : end]
    elif kind == b'acTL':
      frames = max(1, int.from_bytes(data[at + 8 : at + 12], 'big'))
    elif kind == b'IEND':
      break
    has_metadata |= kind in _TEXT
    at = end + 4
  else:
    return None
  width, height = int.from_bytes(header[:4], 'big'), int.from_bytes(header[4:8], 'big')
  if len(header) != 13 or not width or not height or header[9] not in _CHANNELS:
    return None
  bits = width * height * header[8] * _CHANNELS[header[9]]
  if bits > 8 * _HIGHEST_RATIO * compressed:
    return None
  return Png(width, height, header[8], header[9], frames, colours, has_metadata)
