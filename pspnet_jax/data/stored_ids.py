"""The numbers in a label file that Pillow opens, exactly as they were saved, or a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageFile

from pspnet_jax.data import packed_colours, pillow, tiff
from pspnet_jax.data.orientation import orientation_of, turned
from pspnet_jax.errors import BadData

_EXACT_FORMATS = ('PNG', 'BMP', 'TIFF', 'GIF', 'PPM')
_SPREAD = {'L;2': 85, 'L;4': 17}


def refuse_other_bands(path: str | Path, tags: tiff.Tiff) -> None:
  """Raises BadData for a TIFF that is no label, and that Pillow would not open."""
  if tags.kind in ('floating-point', 'complex'):
    raise BadData('float label', f'{path} has {tags}: save labels as an 8-bit PNG.')
  if tags.bits > 32:
    raise BadData('deep label', f'{path} has {tags}: save labels as an 8-bit PNG.')
  if not tags.is_photo:
    raise BadData('other bands', f'{path} has {tags}: save the one that holds the ids as PNG.')


def read(
  path: str | Path, image: ImageFile.ImageFile, tags: tiff.Tiff | None, *, colours: bool
) -> np.ndarray:
  """What `decode.read_ids` returns, of an image that is not yet loaded.

  Args:
    path: for messages.
    image: of one page.
    tags: if it is a TIFF.
    colours: whether colours are wanted, packed.

  Raises:
    BadData: for what `decode.read_ids` refuses.
  """
  _refuse_inexact(path, image, tags, colours)
  stored, orientation = pillow.stored_mode(image), orientation_of(image)
  pillow.load(path, image)
  has_turned = orientation_of(image) != orientation  # as Pillow does TIFFs
  if colours:
    numbers = packed_colours.of_pillow(path, image)
    return turned(numbers, orientation, back=True) if has_turned else numbers
  numbers = _ids_of(path, image, stored, tags)
  return turned(numbers, orientation, back=True) if has_turned else numbers


def _refuse_inexact(
  path: str | Path, image: ImageFile.ImageFile, tags: tiff.Tiff | None, colours: bool
) -> None:
  """Raises BadData for a file whose pixels, as Pillow reads them, are not those that were saved."""
  lossy = tags.lossy and f'{tags.lossy} in TIFF' if tags else ''
  if lossy or image.format not in _EXACT_FORMATS:
    raise BadData(
      'lossy label',
      f'{path} is a file of {lossy or image.format}, whose compression changes ids: save labels as '
      'PNG.',
    )
  tile = image.tile[0] if image.tile else None
  scaled = tile is None or tile[0] in ('ppm', 'ppm_plain')  # to 0-255, or where it says it is
  partial = image.format == 'GIF' and tile is not None and tile[1] != (0, 0, *image.size)
  if (
    scaled or partial or (colours and pillow.stored_mode(image).startswith('BGR;'))
  ):  # of 5 bits each
    raise BadData(
      'inexact label',
      f'{path} is a {image.format} file of a kind whose pixels cannot be read exactly: save labels '
      'as PNG.',
    )


def _ids_of(
  path: str | Path, image: ImageFile.ImageFile, stored: str, tags: tiff.Tiff | None
) -> np.ndarray:
  """The ids of a loaded image, whose file laid out its pixels like `stored`."""
  ids = np.asarray(image)
  if image.mode == 'LA' and ids[..., 1].min() == 255:
    ids = ids[..., 0]
  if ids.ndim == 3:
    grey = ids.shape[2] >= 3 and (ids[..., :3] == ids[..., :1]).all()
    remedy = 'convert each colour to its class id'
    if image.mode == 'LA':
      remedy = 'drop the alpha channel'
    elif grey:
      remedy = 'its three channels are equal, so save one of them'
    raise BadData(
      'colour label',
      f'{path} is a colour image ({image.mode}) where a label has one id a pixel: {remedy}, as '
      'an 8-bit grey or palette PNG.',
    )
  if image.mode == 'F':
    raise BadData(
      'float label', f'{path} holds floating-point numbers: save labels as an 8-bit PNG.'
    )
  ids = ids.astype(np.uint8) if ids.dtype == bool else ids.astype(ids.dtype.newbyteorder('='))
  if tags and tags.photometric == tiff.WHITE_IS_ZERO and image.mode in ('1', 'L'):
    ids = (1 if image.mode == '1' else 255) - ids  # Pillow turns them around
  # Pillow spreads 2- and 4-bit grey over 0-255 while it loads.
  ids = ids // _SPREAD.get(stored[:3], 1)
  if tags and tags.kind == 'signed' and ids.dtype == np.uint8:
    return ids.view(np.int8).astype(np.int32)
  if tags and not tags.kind and ids.dtype == np.int32 and ids.min() < 0:
    raise BadData('illegal ids', f'{path} holds ids of 2,147,483,648 and more: save class ids.')
  return ids
