"""Decodes images and labels strictly: what is doubtful is an error that names the file.

OpenCV is the faster decoder but returns an image for half a JPEG and colours for a palette file; so
it gets files of which is known that they are whole, JPEGs and PNGs of 8 bits, and Pillow the rest.
What label ids mean is said in `label_ids`.
"""

from __future__ import annotations

import stat
import zlib
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from PIL import Image

from pspnet_jax.data import jpeg, packed_colours, pillow, png, stored_ids, tiff
from pspnet_jax.data.orientation import UPRIGHT, orientation_of, turned
from pspnet_jax.data.pillow import damaged
from pspnet_jax.data.spec import Exif
from pspnet_jax.errors import BadData, UserError
from pspnet_jax.runtime.limits import BYTES

_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
_THREE_BANDS = 'write 3 bands of 8 bits, as gdal_translate -b 1 -b 2 -b 3 -ot Byte does'
_CODESTREAM = b'\xff\x4f\xff\x51'  # of JPEG 2000
_JPEG2000 = b'\0\0\0\x0cjP  \r\n\x87\n'
# JPEGs found to be whole, with their orientation: looking closely at one takes half as long as
# decoding it, and training reads each again and again.
_whole: dict[tuple[str, int, int], int] = {}
_MOST_WHOLE = 1_000_000


def read_image(
  path: str | Path, *, exif: Exif = 'upright', data: bytes | None = None
) -> np.ndarray:
  """Decodes an image file to RGB; grey, palette, CMYK and transparent images are converted.

  Args:
    path: JPEG, PNG, BMP, TIFF, WebP, GIF, JPEG 2000, AVIF or PPM; 8 bits a channel.
    exif: 'upright' turns and mirrors the image as its EXIF orientation says, which is how people
      and annotation tools see it; 'stored' leaves the pixels as they lie in the file.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: for a file that is missing, empty, truncated, not an image, of several pages or of
      other bands than a picture has, or of 16 bits or floats (their range is anybody's guess:
      0-4095, 0-65535, 0-1).
  """
  return read_with_orientation(path, exif=exif, data=data)[0]


def read_with_orientation(
  path: str | Path, *, exif: Exif = 'upright', data: bytes | None = None
) -> tuple[np.ndarray, int]:
  """What `read_image` returns, and the EXIF orientation: 1 upright, 2-8 mirrored or turned."""
  exif, data = checked_exif(exif), read_bytes(path, data)
  pixels, orientation = None, UPRIGHT
  if data.startswith(jpeg.SIGNATURE):
    orientation = _examine_jpeg(path, data)
    pixels = _decode(data, cv2.IMREAD_COLOR_RGB | _AS_STORED)
  elif data.startswith(png.SIGNATURE):
    header = _png(path, data)
    if header.depth == 8 and header.colour in (png.RGB, png.RGBA) and not header.has_metadata:
      pixels = _decode(data, cv2.IMREAD_COLOR_RGB | _AS_STORED)
  if pixels is not None:
    return (turned(pixels, orientation) if exif == 'upright' else pixels), orientation
  if _bits_of_jpeg2000(data) > 8:
    raise _deep(path)
  tags = _tiff(data)
  if tags:
    _refuse_bands(path, tags)
  with pillow.open_image(path, data, tags) as image:
    return _rgb_and_orientation(path, image, exif)


def rgb_of(path: str | Path, image: Image.Image, *, exif: Exif = 'upright') -> np.ndarray:
  """What `read_image` makes of an image that Pillow holds; `path` is for messages only."""
  return _rgb_and_orientation(path, image, checked_exif(exif))[0]


def exif_orientation(path: str | Path, *, data: bytes | None = None) -> int:
  """The EXIF orientation of an image file: 1 upright, 2-8 mirrored or turned; 1 when unknown."""
  try:
    with pillow.open_image(path, read_bytes(path, data)) as image:
      return orientation_of(image)
  except BadData:
    return UPRIGHT


def checked_exif(exif: str) -> Exif:
  """The setting itself; raises UserError if it is none."""
  if exif not in get_args(Exif):
    raise UserError(f"exif={exif!r} is no way to hold an image: give 'upright' or 'stored'.")
  return exif  # type: ignore[return-value]


def palette_of(
  path: str | Path, *, data: bytes | None = None
) -> tuple[tuple[int, int, int], ...] | None:
  """The colours of an indexed file, RGB by index, from its header; None for any other file."""
  data = read_bytes(path, data)
  if data.startswith(png.SIGNATURE):
    header = _png(path, data)
    return packed_colours.triples(header.colours) if header.colour == png.PALETTE else None
  with pillow.open_image(path, data) as image:
    if image.mode != 'P' or image.palette is None:
      return None
    holder = Image.new('P', (1, 1))  # getpalette of `image` would decode its pixels
    try:
      holder.putpalette(image.palette.palette, image.palette.rawmode or 'RGB')
      return packed_colours.triples(holder.getpalette() or [])
    except ValueError as error:
      raise damaged(path) from error


def read_bytes(path: str | Path, data: bytes | None = None) -> bytes:
  """The file, or `data` if it has been read already.

  Raises:
    BadData: if it cannot be read, is empty, too large, or no file but a device or a pipe.
  """
  try:
    if data is None:
      about = Path(path).stat()
      if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        raise BadData('unreadable file', f'{path} is a device or a pipe, no file: remove it.')
      if excess := BYTES.exceeded_by(about.st_size):
        raise BadData('huge file', f'{path} has {excess}.')
      data = Path(path).read_bytes()
  except BadData:
    raise
  except (OSError, ValueError) as error:  # ValueError: a null character in the path
    reason = getattr(error, 'strerror', None) or error
    message = f'{path} cannot be read ({reason}): check the path.'
    raise BadData('unreadable file', message) from error
  if not data:
    raise BadData('empty file', f'{path} is empty: copy or download it again.')
  return data


def read_ids(path: str | Path, *, data: bytes | None = None, colours: bool = False) -> np.ndarray:
  """Reads the numbers in a label file as they are: uint8, uint16 or int32 [H, W].

  Args:
    path: a palette file (its indices are the ids, its colours decoration), or grey of 1, 2, 4, 8 or
      16 bits, in a lossless format: PNG, BMP, TIFF, GIF or PGM. EXIF orientations are ignored, by
      the programs that draw labels, too.
    data: what the file holds, if it has been read; `path` is for messages then.
    colours: reads colours instead: int32 [H, W], 65536 r + 256 g + b, of RGB files, of palette
      files by their palette, and of grey ones of up to 8 bits.

  Raises:
    UserError: for a file that cannot be decoded, is lossy, in colour where ids are wanted, deep
      where colours are, transparent, or of several pages.
  """
  data = read_bytes(path, data)
  if data.startswith(png.SIGNATURE):
    header = _png(path, data)
    if header.depth == 8 and header.colour == png.GREY and not colours:
      return _exact(path, data, cv2.IMREAD_UNCHANGED)
    if header.depth == 8 and header.colour in (png.RGB, png.RGBA) and colours:
      flags = cv2.IMREAD_UNCHANGED if header.colour == png.RGBA else cv2.IMREAD_COLOR_BGR
      return packed_colours.of_bgr(path, _exact(path, data, flags | _AS_STORED))
  tags = _tiff(data)
  if tags:
    stored_ids.refuse_other_bands(path, tags)
  with pillow.open_image(path, data, tags) as image:
    return stored_ids.read(path, image, tags, colours=colours)


def _examine_jpeg(path: str | Path, data: bytes) -> int:
  """Returns a JPEG's orientation, after a close look if this is the first.

  Raises:
    BadData: if it is damaged, of more pixels than the limit or more than it can hold, or rare.
  """
  key = str(path), len(data), zlib.crc32(data)  # a tool may change the orientation in place
  if (known := _whole.get(key)) is not None:
    return known
  header = jpeg.parse(data)
  if header is None:
    raise damaged(path)
  if header.depth != 8 or not header.is_common:
    raise BadData(
      'deep image' if header.depth > 8 else 'not an image',
      f'{path} is a JPEG of a rare kind (process {header.process}, {header.depth} bits a sample), '
      'which few programs read: save it as an ordinary one.',
    )
  pillow.refuse_huge(path, header.width, header.height)
  if not (header.holds_enough(len(data)) and header.is_complete() and header.scan_fits()):
    raise damaged(path)
  orientation = exif_orientation(path, data=data) if header.has_metadata else UPRIGHT
  if len(_whole) < _MOST_WHOLE:
    _whole[key] = orientation
  return orientation


def _png(path: str | Path, data: bytes) -> png.Png:
  """The header of a PNG that is whole, of one frame, and within the limit."""
  header = png.parse(data)
  if header is None:
    raise damaged(path)
  pillow.refuse_huge(path, header.width, header.height)
  pillow.refuse_pages(path, header.frames)
  return header


def _rgb(image: Image.Image) -> np.ndarray:
  """What Pillow's convert makes of a loaded image, mostly with less time and memory."""
  if image.mode in ('1', 'L'):
    grey = np.asarray(image.convert('L') if image.mode == '1' else image)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
  if image.mode == 'P':
    colours = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    colours[: len(given)] = given
    return colours[np.asarray(image)]
  return np.array(image if image.mode == 'RGB' else image.convert('RGB'))


def _refuse_bands(path: str | Path, tags: tiff.Tiff) -> None:
  """Raises BadData for a TIFF that is no picture of 8 bits, though Pillow may open it as one."""
  if tags.kind or tags.bits > 8:
    raise BadData(
      'deep image',
      f'{path} has {tags}: choose which range of values becomes 0-255, and {_THREE_BANDS}.',
    )
  if not tags.is_photo:
    raise BadData(
      'other bands',
      f'{path} has {tags} that are not marked as those of a picture: {_THREE_BANDS}.',
    )


def _deep(path: str | Path) -> BadData:
  return BadData(
    'deep image',
    f'{path} has more than 8 bits a channel: convert it to 8 bits, choosing which range of values '
    'becomes 0-255.',
  )


def _bits_of_jpeg2000(data: bytes) -> int:
  """Bits a sample of a JPEG 2000 file, of which Pillow keeps 8 in silence; 0 for other files."""
  if not data.startswith((_JPEG2000, _CODESTREAM)):
    return 0
  start = data.find(_CODESTREAM)
  depth = data[start + 42 : start + 43] if start >= 0 else b''
  return (depth[0] & 0x7F) + 1 if depth else 0


def _tiff(data: bytes) -> tiff.Tiff | None:
  return tiff.parse(data) if data.startswith(tiff.SIGNATURES) else None


def _rgb_and_orientation(
  path: str | Path, image: Image.Image, exif: Exif
) -> tuple[np.ndarray, int]:
  if image.mode[0] in 'IF' or ';16' in pillow.stored_mode(image).removeprefix('BGR;16'):
    raise _deep(path)
  orientation = orientation_of(image)
  pillow.load(path, image)
  is_upright = orientation_of(image) != orientation  # Pillow has turned it, as it does TIFFs
  try:
    pixels = _rgb(image)
  except ValueError as error:  # a mode such as La, which hardly a file has
    raise BadData(
      'not an image',
      f'{path} has pixels of the kind {image.mode}, which cannot be converted: save it as RGB.',
    ) from error
  if is_upright == (exif == 'upright'):
    return pixels, orientation
  return turned(pixels, orientation, back=is_upright), orientation


def _exact(path: str | Path, data: bytes, flags: int) -> np.ndarray:
  """What OpenCV reads of a PNG of 8 bits a channel: as stored, colours backwards."""
  pixels = _decode(data, flags)
  if pixels is None:
    raise damaged(path)
  return pixels


def _decode(data: bytes, flags: int) -> np.ndarray | None:
  """Decodes a file with OpenCV; None where Pillow may say what is wrong with it."""
  try:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    return None
