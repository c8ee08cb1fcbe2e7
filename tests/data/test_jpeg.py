import io

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data import jpeg


def encoded(mode='RGB', **options):
  """A JPEG with something in every block."""
  noise = np.random.default_rng(0).integers(0, 256, (31, 40, 3), np.uint8)
  image = Image.fromarray(noise).resize((317, 250), Image.Resampling.BICUBIC).convert(mode)
  file = io.BytesIO()
  image.save(file, 'JPEG', **options)
  return file.getvalue()


def is_whole(data):
  header = jpeg.parse(data)
  return header is not None and header.is_complete() and header.scan_fits()


SEQUENTIAL = [
  {},
  {'quality': 100, 'subsampling': 0},
  {'quality': 5, 'optimize': True},
  {'mode': 'L'},
  {'mode': 'CMYK'},
  {'restart_marker_blocks': 3},
]


def test_headers_are_read():
  header = jpeg.parse(encoded(exif=Image.Exif().tobytes()))
  assert (header.width, header.height, header.depth, header.process) == (317, 250, 8, 0)
  assert header.has_metadata and header.is_common and len(header.scans) == 1
  assert header.components == {1: (2, 2), 2: (1, 1), 3: (1, 1)}
  header = jpeg.parse(encoded(progressive=True))
  assert header.process == 2 and len(header.scans) > 1 and not header.has_metadata


@pytest.mark.parametrize('options', [*SEQUENTIAL, {'progressive': True}])
def test_sound_files_pass_whatever_follows_them(options):
  data = encoded(**options)
  assert is_whole(data) and is_whole(data + data) and is_whole(data + bytes(100))


@pytest.mark.parametrize('options', SEQUENTIAL)
def test_compressed_data_that_are_too_few_or_too_many_are_seen(options):
  data = encoded(**options)
  start, piece = data.index(b'\xff\xda') + 16, len(data) // 20
  for at in range(start, len(data) - piece, (len(data) - start) // 9):
    assert not is_whole(data[:at]), 'no end'
    assert not is_whole(data[:at] + b'\xff\xd9'), 'cut, and an end put to it'
    assert not is_whole(data[:at] + data[at + piece :]), 'a piece is missing'
    assert not is_whole(data[:at] + data[start : start + piece] + data[at:]), 'a piece too many'


def test_missing_scans_are_seen():
  data = encoded(progressive=True)
  at = data.index(b'\xff\xda')
  while (at := data.find(b'\xff\xda', at + 1)) > 0:
    assert not is_whole(data[:at] + b'\xff\xd9')


def test_a_header_that_claims_more_than_the_data_can_hold_is_seen():
  data = encoded()
  assert jpeg.parse(data).holds_enough(len(data))
  at = data.index(b'\xff\xc0') + 5
  header = jpeg.parse(data[:at] + b'\x3e\x80\xff\xdc' + data[at + 4 :])
  assert (header.height, header.width) == (16000, 65500)
  assert not header.holds_enough(len(data))


def test_one_colour_compresses_no_better_than_allowed():
  file = io.BytesIO()
  Image.new('RGB', (2000, 2000), (9, 80, 200)).save(file, 'JPEG', progressive=True, optimize=True)
  data = file.getvalue()
  assert is_whole(data) and jpeg.parse(data).holds_enough(len(data))


def test_headers_without_sense_are_refused():
  data = encoded()
  at = data.index(b'\xff\xc0')
  for wrong in (
    b'',
    data[:2],
    data[:20],
    data[:at] + data[at + 19 :],  # a scan of no frame
    data[: at + 5] + bytes(4) + data[at + 9 :],  # no pixels
    data[:at] + data[at : at + 19] * 2 + data[at + 19 :],  # two frames
    data.replace(b'\xff\xda', b'\xff\xd8'),
    data[:2] + b'\xff\xfe\x00\x02' * 20_000 + data[2:],
  ):
    assert jpeg.parse(wrong) is None
