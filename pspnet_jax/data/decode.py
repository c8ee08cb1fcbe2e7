"""Decodes images and labels strictly: what is doubtful is an error that names the file.

OpenCV is the faster decoder but returns an image for half a JPEG and colours for a palette file; so
it gets complete JPEGs and grey PNGs only, and Pillow the rest. Label ids go through a
look-up table in which every id that nobody listed is illegal.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import BadData, UserError

ILLEGAL = -1
_SUSPECT = 254  # an illegal id, or the last of 255 classes
_ID_LIMIT = 1 << 16  # ids of 16-bit label files
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_PNG, _GREY_OF_8_BITS = b'\x89PNG\r\n\x1a\n', b'\x08\x00'  # signature; depth and colour type
_LOSSY_FORMATS = ('JPEG', 'WEBP', 'JPEG2000', 'AVIF')


def read_image(
  path: str | Path, *, exif_orientation: bool = False, data: bytes | None = None
) -> np.ndarray:
  """Decodes an image file to RGB; grey, palette, CMYK and transparent images are converted.

  Pixels come as they are stored: a label has no EXIF data, so turning the image would part the two.
  A photograph that nobody labelled is better turned upright, since the network has never seen
  people lying sideways: prediction asks for it.

  Args:
    path: JPEG, PNG, BMP, TIFF, WebP or whatever else Pillow opens; 8 bits a channel.
    exif_orientation: turn and mirror the image as its EXIF orientation says.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: for a file that is missing, empty, truncated, not an image, or of 16 bits or floats
      (their range is anybody's guess: 0-4095, 0-65535, 0-1).
  """
  data = _read_bytes(path, data)
  if _is_complete_jpeg(data):
    turn = 0 if exif_orientation else cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _decode(data, cv2.IMREAD_COLOR_RGB | turn)
    if pixels is not None:
      return pixels
  with _open(path, data) as image:
    return rgb_of(path, image, exif_orientation=exif_orientation)


def rgb_of(path: str | Path, image: Image.Image, *, exif_orientation: bool = False) -> np.ndarray:
  """What `read_image` makes of an image that Pillow holds; `path` is for messages only."""
  if image.mode[0] in 'IF' or ';16' in _stored_mode(image):
    raise BadData(
      'deep image',
      f'{path} has more than 8 bits a channel: convert it to 8 bits, choosing which range of '
      'values becomes 0-255.',
    )
  _load(path, image)
  return np.array((ImageOps.exif_transpose(image) if exif_orientation else image).convert('RGB'))


def exif_orientation(path: str | Path) -> int:
  """The EXIF orientation of an image file: 1 upright, 2-8 mirrored or turned; 1 when unknown."""
  try:
    with Image.open(path) as image:
      return image.getexif().get(0x0112, 1)
  except _PILLOW_ERRORS:
    return 1


def label_table(class_ids: Sequence[int], ignore_ids: Iterable[int] = ()) -> np.ndarray:
  """The look-up table from ids in label files to class ids.

  Args:
    class_ids: the id that the files give to each class, in the order of the classes.
    ignore_ids: ids in the files that mean "leave this pixel out". 255 always does, unless it is
      the id of a class.

  Returns:
    int16 [65536]: class id, IGNORE_LABEL, or ILLEGAL for every id not mentioned.

  Raises:
    UserError: for ids that repeat, that do not fit 16 bits, or that are both a class and ignored.
  """
  class_ids, ignore_ids = [int(i) for i in class_ids], [int(i) for i in ignore_ids]
  for value in class_ids + ignore_ids:
    if not 0 <= value < _ID_LIMIT:
      raise UserError(f'label id {value} is outside 0-{_ID_LIMIT - 1}: no label file can hold it.')
    if class_ids.count(value) > 1:
      raise UserError(f'label id {value} is given to two classes: make the ids unique.')
    if value in class_ids and value in ignore_ids:
      raise UserError(f'label id {value} is both a class and ignored: drop one of the two.')
  if len(class_ids) > IGNORE_LABEL:
    raise UserError(f'{len(class_ids)} classes: a uint8 label holds 1 to {IGNORE_LABEL} classes.')
  table = np.full(_ID_LIMIT, ILLEGAL, np.int16)
  table[[IGNORE_LABEL, *ignore_ids]] = IGNORE_LABEL
  table[class_ids] = np.arange(len(class_ids))
  return table


def read_label(path: str | Path, table: np.ndarray, *, data: bytes | None = None) -> np.ndarray:
  """Decodes a label file: one id a pixel, exactly as stored, mapped through `table`.

  Args:
    path: a palette file (its indices are the ids, its colours decoration), or grey of 1, 2, 4, 8 or
      16 bits, in a lossless format.
    table: from `label_table`.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W]: class ids and IGNORE_LABEL.

  Raises:
    UserError: for a file that cannot be decoded, is lossy or in colour, or holds an illegal id.
  """
  return map_ids(path, read_ids(path, data=data), table)


def map_ids(path: str | Path, ids: np.ndarray, table: np.ndarray) -> np.ndarray:
  """What `read_label` does with the ids once they are read; `path` is for the message only."""
  if ids.dtype == np.uint8:  # the common case, at a fraction of the cost
    of_byte = table[:256]
    mapped = cv2.LUT(ids, np.where(of_byte == ILLEGAL, _SUSPECT, of_byte).astype(np.uint8))
    legal = not (mapped == _SUSPECT).any() or (of_byte[ids] != ILLEGAL).all()
  else:
    mapped = table[np.clip(ids, 0, _ID_LIMIT - 1)].astype(np.uint8)
    legal = ids.min() >= 0 and ids.max() < _ID_LIMIT and (table[ids] != ILLEGAL).all()
  if not legal:
    raise BadData('illegal ids', _illegal_ids(path, ids, table))
  return mapped


def read_ids(path: str | Path, *, data: bytes | None = None) -> np.ndarray:
  """Reads the numbers in a label file as they are: uint8, uint16 or int32 [H, W].

  Arguments and errors are those of `read_label`.
  """
  data = _read_bytes(path, data)
  if data.startswith(_PNG) and data[24:26] == _GREY_OF_8_BITS:
    ids = _decode(data, cv2.IMREAD_UNCHANGED)
    if ids is None:
      raise _damaged(path)
    return ids
  with _open(path, data) as image:
    # Pillow spreads 2- and 4-bit grey over 0-255 while it loads.
    step = {'L;2': 85, 'L;4': 17}.get(_stored_mode(image), 1)
    _load(path, image)
    if image.format in _LOSSY_FORMATS:
      raise BadData(
        'lossy label',
        f'{path} is a {image.format} file, whose compression changes ids: save labels as PNG.',
      )
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


def _stored_mode(image: Image.Image) -> str:
  """How the file lays out a pixel, such as 'L;4'; known only before the pixels are loaded."""
  tile = image.tile if isinstance(image, ImageFile.ImageFile) else None
  args = tile[0].args if tile else ''
  return args if isinstance(args, str) else ' '.join(str(arg) for arg in args or ())


def _illegal_ids(path: str | Path, ids: np.ndarray, table: np.ndarray) -> str:
  """A sentence with the file, its illegal ids, how many pixels, and what probably went wrong."""
  present, counts = np.unique(ids, return_counts=True)
  legal = np.flatnonzero(table >= 0)
  illegal = ~np.isin(present, legal)
  classes = np.flatnonzero((table >= 0) & (table != IGNORE_LABEL))
  pixels, bad = int(counts[illegal].sum()), present[illegal]
  shown = ', '.join(str(i) for i in bad[:8]) + (', ...' if len(bad) > 8 else '')
  first, last = int(classes[0]), int(classes[-1])
  span = f'{first}-{last}' if last - first + 1 == len(classes) else f'{len(classes)} ids listed'
  ignored = ', '.join(str(i) for i in np.flatnonzero(table == IGNORE_LABEL)[:8])
  used = present[~np.isin(present, np.flatnonzero(table == IGNORE_LABEL))]
  if len(classes) == 2 and len(bad) == 1 and set(present) <= {0, bad[0]}:
    remedy = f'for a binary mask with 0 and {bad[0]} give label_ids=(0, {bad[0]})'
  elif first == 0 and list(bad) == [last + 1] and used[0] >= 1:
    remedy = 'if the ids count from 1, give label_offset=1'
  elif first == 0 and list(bad) == [last + 1]:
    remedy = (
      f'if the ids count from 1 and 0 is no class, give label_offset=1 and ignore_ids=(0,); if '
      f'{last + 1} is no class, ignore_ids=({last + 1},)'
    )
  elif first > 0 and list(bad) == [0]:
    remedy = 'if 0 is no class, give ignore_ids=(0,)'
  else:
    remedy = 'add the missing classes, or list the ids under ignore_ids'
  return (
    f'{path} has {pixels} of {ids.size} pixels with id {shown}, neither a class ({span}) '
    f'nor ignored ({ignored}): {remedy}.'
  )


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
