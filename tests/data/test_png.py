import io
import struct
import zlib

import numpy as np
from PIL import Image

from pspnet_jax.data import png


def encoded(mode='RGB', **options):
  file = io.BytesIO()
  Image.new(mode, (30, 20)).save(file, 'PNG', **options)
  return file.getvalue()


def with_header(data, width, height):
  """The same file, claiming another size, with a right checksum."""
  header = struct.pack('>II', width, height) + data[24:29]
  checksum = struct.pack('>I', zlib.crc32(b'IHDR' + header))
  return data[:16] + header + checksum + data[33:]


def test_the_header_is_read():
  found = png.parse(encoded())
  assert (found.width, found.height, found.depth, found.colour) == (30, 20, 8, png.RGB)
  assert (found.frames, found.colours, found.has_metadata) == (1, b'', False)
  assert png.parse(encoded(exif=Image.Exif().tobytes())).has_metadata
  assert len(png.parse(encoded('P')).colours) >= 3


def test_frames_are_counted():
  frames = [Image.fromarray(np.full((4, 4), i, np.uint8)) for i in range(3)]
  file = io.BytesIO()
  frames[0].save(file, 'PNG', save_all=True, append_images=frames[1:])
  assert png.parse(file.getvalue()).frames == 3


def test_no_damage_goes_unnoticed():
  data = encoded()
  for at in range(8, len(data)):
    assert png.parse(data[:at]) is None
    assert png.parse(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None


def test_a_header_that_claims_more_than_the_data_can_hold_is_refused():
  data = encoded()
  assert png.parse(with_header(data, 31, 20)) is not None  # for the decoder to refuse
  assert png.parse(with_header(data, 60_000, 60_000)) is None
  assert png.parse(with_header(data, 0, 20)) is None


def test_the_best_compressed_file_there_is_passes():
  file = io.BytesIO()
  Image.new('L', (4000, 4000)).save(file, 'PNG', compress_level=9)
  assert png.parse(file.getvalue()) is not None
