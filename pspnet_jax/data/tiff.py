"""What the tags of a TIFF file say of its pixels: Pillow opens the common kinds, and says nothing
of the others but that it cannot.
"""

from __future__ import annotations

import dataclasses
import io

from PIL.TiffImagePlugin import ImageFileDirectory_v2

SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
WHITE_IS_ZERO, _RGB = 0, 2
_CHANNELS = {0: 1, 1: 1, _RGB: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # by photometric interpretation
_ALPHA = (1, 2)  # among extra samples
# Compressions that keep values: none, CCITT's, LZW, both Deflates, PackBits, ThunderScan's, LZMA,
# Zstandard; and some of those that do not.
_EXACT = (1, 2, 3, 4, 5, 8, 32771, 32773, 32809, 32946, 34925, 50000)
_LOSSY = {6: 'JPEG', 7: 'JPEG', 34712: 'JPEG 2000', 34887: 'LERC', 50001: 'WebP', 50002: 'JPEG XL'}
_KINDS = {2: 'signed', 3: 'floating-point', 5: 'complex', 6: 'complex'}


@dataclasses.dataclass(frozen=True)
class Tiff:
  """What the tags of the first page say.

  Attributes:
    bands: samples a pixel.
    bits: of the deepest band.
    kind: '' for unsigned integers, or another word.
    photometric: what the values mean.
    extra: what the bands beyond the photometric ones mean.
    lossy: name of the compression if it may change values, else ''.
    is_thumbnail: whether it is a smaller copy of another page, or its mask.
  """

  bands: int
  bits: int
  kind: str
  photometric: int
  extra: tuple[int, ...]
  lossy: str
  is_thumbnail: bool

  def __str__(self) -> str:
    bands = f'{self.bands} bands' if self.bands > 1 else 'one band'
    return f'{bands} of {self.bits}-bit {self.kind} numbers'.replace('  ', ' ')

  @property
  def is_photo(self) -> bool:
    """Whether its bands are those of a picture, and at most alpha besides."""
    extra = self.bands - _CHANNELS.get(self.photometric, 0)
    return extra == 0 or (extra == 1 and self.extra[:1] in {(x,) for x in _ALPHA})


def parse(data: bytes) -> Tiff | None:
  """Reads the tags of the first page; None if there are none that make sense."""
  try:
    big = 43 in data[2:4]
    tags = ImageFileDirectory_v2(data[: 16 if big else 8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return of_tags(tags)
  except Exception:  # a hostile file makes Pillow raise anything
    return None


def of_tags(tags: ImageFileDirectory_v2) -> Tiff:
  """What these tags say."""
  compression = int(tags.get(259, 1))
  bits, formats = tags.get(258, (1,)), tags.get(339, (1,))
  return Tiff(
    bands=int(tags.get(277, 1)),
    bits=max(int(x) for x in bits),
    kind=next((_KINDS[x] for x in formats if x in _KINDS), ''),
    photometric=int(tags.get(262, 0)),
    extra=tuple(tags.get(338, ())),
    lossy='' if compression in _EXACT else _LOSSY.get(compression, f'compression {compression}'),
    is_thumbnail=bool(int(tags.get(254, 0)) & 5),
  )
