"""Image and label files as tests write them."""

import struct
import zlib

import pytest
from PIL import Image

from pspnet_jax.errors import UserError


def save(path, array, mode=None, **options):
  image = array if isinstance(array, Image.Image) else Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return path


def grey_png(path, depth, rows, colours=None):
  """A grey PNG of any depth, or one of a palette; rows: the packed bytes of each."""

  def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  header = struct.pack(
    '>IIBBBBB', 8 * len(rows[0]) // depth, len(rows), depth, 3 if colours else 0, 0, 0, 0
  )
  data = zlib.compress(b''.join(b'\0' + row for row in rows))
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + (chunk(b'PLTE', bytes(colours)) if colours else b'')
    + chunk(b'IDAT', data)
    + chunk(b'IEND', b'')
  )
  return path


def tiff(path, array, **tags):
  """A TIFF of one strip without compression: what Pillow does not write. Tags by number."""
  order = '>' if array.dtype.byteorder == '>' else '<'
  data = array.tobytes()
  values = {256: array.shape[1], 257: array.shape[0], 258: 8 * array.dtype.itemsize, 259: 1}
  values |= {262: 1, 273: 8, 277: 1, 278: array.shape[0], 279: len(data)}
  values |= {339: {'u': 1, 'i': 2, 'f': 3, 'b': 1}[array.dtype.kind]}
  values |= {int(name[1:]): value for name, value in tags.items()}
  entries = b''.join(struct.pack(f'{order}HHII', n, 4, 1, v) for n, v in sorted(values.items()))
  header = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}I', 8 + len(data))
  path.write_bytes(header + data + struct.pack(f'{order}H', len(values)) + entries + bytes(4))
  return path


def raises_one_sentence(function, *arguments):
  """The message, which must name the file and be one sentence."""
  with pytest.raises(UserError) as caught:
    function(*arguments)
  message = str(caught.value)
  assert str(arguments[0]) in message
  assert message.endswith('.')
  assert '. ' not in message
  return message


def palette(ids, colours=256):
  image = Image.fromarray(ids)
  image.putpalette([value for i in range(colours) for value in (255 - i, i, 99)])
  return image
