"""Whatever comes in is small enough before it is decoded, and gone when it has been read."""

import os

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.web import uploads

LIMITS = {'max_pixels': 1_000_000, 'exif': 'upright'}


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'uploads' / 'abc').mkdir(parents=True)
  return tmp_path / 'uploads'


def write_image(path, size=(8, 6)):
  Image.new('RGB', size, (90, 120, 200)).save(path)
  return path


def test_an_upload_is_read_and_removed(folder):
  image = uploads.take(write_image(folder / 'abc' / 'a.png'), folder, **LIMITS)
  assert image.shape == (6, 8, 3) and (image == [90, 120, 200]).all()
  assert not [*folder.iterdir()]


@pytest.mark.parametrize(
  ('name', 'content', 'says'),
  [
    ('text.jpg', b'no image\n' * 50, r'^text\.jpg is not an image that can be decoded: .*'),
    ('cut.jpg', 100, r'^cut\.jpg is (truncated|not an image).*'),
    ('empty.png', b'', r'^empty\.png is empty: .*'),
    (
      'large.png',
      b'x' * 5_100_000,
      r'^large\.png has 5 MB, and this page takes 5: save it smaller',
    ),
  ],
)
def test_what_is_no_image_is_a_sentence_without_folders(folder, name, content, says):
  path = folder / 'abc' / name
  if isinstance(content, int):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    content = path.read_bytes()[:-content]
  path.write_bytes(content)
  with pytest.raises(UserError, match=says) as raised:
    uploads.take(path, folder, **LIMITS)
  assert str(folder) not in str(raised.value) and not path.exists()


def test_an_image_of_too_many_pixels_is_never_decoded(folder, monkeypatch):
  monkeypatch.setattr(uploads, 'read_image', lambda *_, **__: pytest.fail('it was decoded'))
  path = folder / 'abc' / 'fifty.png'
  Image.new('1', (10_000, 5_000)).save(path)
  with pytest.raises(UserError, match=r'fifty\.png has 10000×5000 pixels, 50 million, and .* 1: r'):
    uploads.take(path, folder, **LIMITS)


@pytest.mark.parametrize('path', ['victim.png', 'uploads/../victim.png', 'uploads/abc/link.png'])
def test_what_lies_elsewhere_is_neither_read_nor_removed(folder, path):
  victim = write_image(folder.parent / 'victim.png')
  (folder / 'abc' / 'link.png').symlink_to(victim)
  with pytest.raises(UserError, match=r'is not here, or no longer: drop it in again'):
    uploads.take(folder.parent / path, folder, **LIMITS)
  assert victim.exists()


@pytest.mark.parametrize('path', ['uploads', 'uploads/abc', 'uploads/abc/none.png', 'a\0b'])
def test_what_is_no_file_is_refused(folder, path):
  with pytest.raises(UserError, match='drop it in again'):
    uploads.take(folder.parent / path, folder, **LIMITS)


def test_what_broken_connections_left_is_removed_in_time(folder):
  old, new = folder / 'tmp_old', folder / 'tmp_new'
  for path in (old, new):
    path.write_bytes(b'half an upload')
  os.utime(old, (0, 0))
  uploads.take(write_image(folder / 'abc' / 'a.png'), folder, **LIMITS)
  assert [*folder.iterdir()] == [new]
