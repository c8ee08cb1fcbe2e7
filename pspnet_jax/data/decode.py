"""Decodes images and labels strictly: what is doubtful is an error that names the file.

OpenCV is the faster decoder but returns an image for half a JPEG and colours for a palette file; so
it gets complete JPEGs and grey PNGs only, and Pillow the rest. What label ids mean is said in
`label_ids`.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

from pspnet_jax.errors import BadData

Exif = Literal['upright', 'stored']  # whether images are turned as their EXIF data say

_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_PNG = b'\x89PNG\r\n\x1a\n'
# Depth and colour type in its header: grey; RGB and RGBA with how OpenCV is to read them.
_GREY_OF_8_BITS = b'\x08\x00'
_COLOURS_OF_8_BITS = {
  b'\x08\x02': cv2.IMREAD_COLOR_BGR,
  b'\x08\x06': cv2.IMREAD_UNCHANGED,
}
_LOSSY_FORMATS = ('JPEG', 'WEBP', 'JPEG2000', 'AVIF')


def read_image(
  path: str | Path, *, exif: Exif = 'upright', data: bytes | None = None
) -> np.ndarray:
  """Decodes an image file to RGB; grey, palette, CMYK and transparent images are converted.

  Args:
    path: JPEG, PNG, BMP, TIFF, WebP or whatever else Pillow opens; 8 bits a channel.
    exif: 'upright' turns and mirrors the image as its EXIF orientation says, which is how people
      and annotation tools see it; 'stored' leaves the pixels as they lie in the file.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: for a file that is missing, empty, truncated, not an image, or of 16 bits or floats
      (their range is anybody's guess: 0-4095, 0-65535, 0-1).
  """
  data = _read_bytes(path, data)
  if _is_complete_jpeg(data):
    turn = 0 if exif == 'upright' else cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _decode(data, cv2.IMREAD_COLOR_RGB | turn)
    if pixels is not None:
      return pixels
  with _open(path, data) as image:
    return rgb_of(path, image, exif=exif)


def rgb_of(path: str | Path, image: Image.Image, *, exif: Exif = 'upright') -> np.ndarray:
  """What `read_image` makes of an image that Pillow holds; `path` is for messages only."""
  if image.mode[0] in 'IF' or ';16' in _stored_mode(image):
    raise BadData(
      'deep image',
      f'{path} has more than 8 bits a channel: convert it to 8 bits, choosing which range of '
      'values becomes 0-255.',
    )
  _load(path, image)
  return np.array((ImageOps.exif_transpose(image) if exif == 'upright' else image).convert('RGB'))


def exif_orientation(path: str | Path) -> int:
  """The EXIF orientation of an image file: 1 upright, 2-8 mirrored or turned; 1 when unknown."""
  try:
    with Image.open(path) as image:
      return image.getexif().get(0x0112, 1)
  except _PILLOW_ERRORS:
    return 1


def read_ids(path: str | Path, *, data: bytes | None = None, colours: bool = False) -> np.ndarray:
  """Reads the numbers in a label file as they are: uint8, uint16 or int32 [H, W].

  Args:
    path: a palette file (its indices are the ids, its colours decoration), or grey of 1, 2, 4, 8 or
      16 bits, in a lossless format.
    data: what the file holds, if it has been read; `path` is for messages then.
    colours: reads colours instead: int32 [H, W], 65536 r + 256 g + b, of RGB files, of palette
      files by their palette, and of grey ones of up to 8 bits.

  Raises:
    UserError: for a file that cannot be decoded, is lossy, in colour where ids are wanted, deep
      where colours are, or transparent.
  """
  data = _read_bytes(path, data)
  if data.startswith(_PNG):
    layout = data[24:26]
    if layout == _GREY_OF_8_BITS and not colours:
      return _exact(path, data, cv2.IMREAD_UNCHANGED)
    if layout in _COLOURS_OF_8_BITS and colours:
      return _packed(path, _exact(path, data, _COLOURS_OF_8_BITS[layout]))
  with _open(path, data) as image:
    # Pillow spreads 2- and 4-bit grey over 0-255 while it loads.
    step = {'L;2': 85, 'L;4': 17}.get(_stored_mode(image), 1)
    _load(path, image)
    if image.format in _LOSSY_FORMATS:
      raise BadData(
        'lossy label',
        f'{path} is a {image.format} file, whose compression changes ids: save labels as PNG.',
      )
    if colours:
      return _colours_of(path, image)
    ids = np.asarray(image)
    if ids.ndim == 3:
      grey = ids.shape[2] >= 3 and (ids[..., :3] == ids[..., :1]).all()
      remedy = (
        'its three channels are equal, so save one of them'
        if grey
        else 'convert each colour to its class id'
      )
      raise BadData(
        'colour label',
        f'{path} is a colour image ({image.mode}) where a label has one id a pixel: {remedy}, as '
        'an 8-bit grey or palette PNG.',
      )
    if image.mode == 'F':
      raise BadData(
        'float label', f'{path} holds floating-point numbers: save labels as an 8-bit PNG.'
      )
    ids = ids.astype(np.uint8) if ids.dtype == bool else ids
    return ids // step if step > 1 else ids


def palette_of(
  path: str | Path, *, data: bytes | None = None
) -> tuple[tuple[int, int, int], ...] | None:
  """The colours of an indexed file, RGB by index, from its header; None for any other file."""
  with _open(path, _read_bytes(path, data)) as image:
    if image.mode != 'P' or image.palette is None:
      return None
    holder = Image.new('P', (1, 1))  # getpalette of `image` would decode its pixels
    holder.putpalette(image.palette.palette, image.palette.rawmode or 'RGB')
    values = holder.getpalette() or []
  return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))


def _colours_of(path: str | Path, image: Image.Image) -> np.ndarray:
  """The colours of a loaded image, packed."""
  if image.mode not in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA'):
    raise BadData(
      'deep label' if image.mode[0] in 'IF' else 'colour label',
      f'{path} has pixels of the kind {image.mode}, no RGB colours of 8 bits: save it as RGB PNG.',
    )
  pixels = np.asarray(image)
  if image.mode == 'P':
    table = np.array(image.getpalette(), np.int32).reshape(-1, 3) @ (1 << 16, 1 << 8, 1)
    if pixels.max() >= len(table):
      raise BadData(
        'damaged file',
        f'{path} has pixels of index {pixels.max()}, and its palette {len(table)} colours: save '
        'it again.',
      )
    return table.astype(np.int32)[pixels]
  if image.mode in ('1', 'L'):
    return pixels.astype(np.int32) * (255 if image.mode == '1' else 1) * 0x010101
  if image.mode == 'LA':
    pixels = pixels[..., [0, 0, 0, 1]]
  return _packed(path, np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]))


def _packed(path: str | Path, pixels: np.ndarray) -> np.ndarray:
  """One number a pixel, 65536 r + 256 g + b, of uint8 [H, W, 3 or 4], BGR or BGRA."""
  if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
    raise BadData(
      'transparent label',
      f"{path} has pixels whose alpha is below 255, and what colour they have is anyone's guess: "
      'save it without an alpha channel.',
    )
  if pixels.shape[2] == 3:
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)
  packed = pixels.view('<i4')[..., 0]
  return np.bitwise_and(packed, 0xFFFFFF, out=packed)


def _exact(path: str | Path, data: bytes, flags: int) -> np.ndarray:
  """What OpenCV reads of a PNG of 8 bits a channel: as stored, colours backwards."""
  pixels = _decode(data, flags)
  if pixels is None:
    raise _damaged(path)
  return pixels


def _stored_mode(image: Image.Image) -> str:
  """How the file lays out a pixel, such as 'L;4'; known only before the pixels are loaded."""
  tile = image.tile if isinstance(image, ImageFile.ImageFile) else None
  args = tile[0].args if tile else ''
  return args if isinstance(args, str) else ' '.join(str(arg) for arg in args or ())


def _read_bytes(path: str | Path, data: bytes | None = None) -> bytes:
  """The file, or `data` if it has been read already."""
  try:
    data = Path(path).read_bytes() if data is None else data
  except OSError as error:
    message = f'{path} cannot be read ({error.strerror}): check the path.'
    raise BadData('unreadable file', message) from error
  if not data:
    raise BadData('empty file', f'{path} is empty: copy or download it again.')
  if data.startswith(_PNG) and not _is_complete_png(data):
    raise _damaged(path)
  return data


def _open(path: str | Path, data: bytes) -> ImageFile.ImageFile:
  try:
    return Image.open(io.BytesIO(data))
  except Image.DecompressionBombError as error:
    raise BadData(
      'huge image',
      f'{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which is refused as a '
      'possible attack: cut it into tiles.',
    ) from error
  except _PILLOW_ERRORS as error:
    message = f'{path} is not an image that can be decoded: replace or remove it.'
    raise BadData('not an image', message) from error


def _load(path: str | Path, image: Image.Image) -> None:
  try:
    image.load()
  except _PILLOW_ERRORS as error:
    raise _damaged(path) from error


def _damaged(path: str | Path) -> BadData:
  return BadData('damaged file', f'{path} is truncated or damaged: copy or download it again.')


def _decode(data: bytes, flags: int) -> np.ndarray | None:
  """Decodes a file with OpenCV; None where Pillow may say what is wrong with it."""
  try:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    return None


def _is_complete_png(data: bytes) -> bool:
  """Whether every checksum is right, up to the end; Pillow looks at few of them."""
  at = len(_PNG)
  while at + 12 <= len(data):
    end = at + 8 + int.from_bytes(data[at : at + 4], 'big')
    if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
      return False
    if data[at + 4 : at + 8] == b'IEND':
      return True
    at = end + 4
  return False


def _is_complete_jpeg(data: bytes) -> bool:
  """Whether a JPEG has its end marker; OpenCV fills what is missing with grey and says nothing.

  Walks the segments up to the scan, because an embedded thumbnail has an end marker of its own.
  """
  end = data.rfind(b'\xff\xd9')
  if data[:2] != b'\xff\xd8' or end < 0:
    return False
  at = 2
  while at + 4 <= len(data) and data[at] == 0xFF:
    if data[at + 1] == 0xDA:  # start of scan: from here 0xFF in the data is followed by 0
      return end > at
    at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
  return False
