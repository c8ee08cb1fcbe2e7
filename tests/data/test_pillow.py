import io
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data import pillow
from tests.data.image_files import raises_one_sentence


def encoded(kind, size=(4, 3), **options):
  file = io.BytesIO()
  Image.new('RGB', size).save(file, kind, **options)
  return file.getvalue()


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM'])
def test_images_are_opened(kind):
  assert pillow.open_image('a', encoded(kind)).size == (4, 3)


@pytest.mark.parametrize('kind', ['EPS', 'ICO', 'PDF', 'TGA', 'SGI', 'PCX'])
def test_other_formats_are_none_whatever_the_file_is_called(monkeypatch, kind):
  """An EPS would start another program."""
  import subprocess

  for name in ('Popen', 'check_call', 'run'):
    monkeypatch.setattr(subprocess, name, lambda *args, **options: pytest.fail('a program'))
  message = raises_one_sentence(pillow.open_image, 'a.png', encoded(kind, (32, 32)))
  assert 'not an image' in message


def test_there_is_one_limit_and_pillow_says_nothing(monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 6)  # twelve pixels are a warning, more an error
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for size in ((4, 3), (40, 30)):
      for kind in ('PNG', 'TIFF', 'GIF', 'WEBP'):
        image = pillow.open_image('a', encoded(kind, size))
        pillow.load('a', image)
        assert np.asarray(image).shape[:2] == size[::-1]
  assert Image.MAX_IMAGE_PIXELS == 6
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '11')
  for kind in ('PNG', 'TIFF', 'GIF', 'WEBP', 'BMP', 'PPM'):
    message = raises_one_sentence(pillow.open_image, 'a', encoded(kind))
    assert '4x3 = 12 pixels' in message and 'PSPNET_JAX_MAX_PIXELS' in message


def test_the_last_thread_restores_pillows_limit(monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 7)
  inside, leave = threading.Event(), threading.Event()

  def stay():
    with pillow.without_its_limit():
      inside.set()
      leave.wait(10)

  thread = threading.Thread(target=stay)
  thread.start()
  assert inside.wait(10)
  with pillow.without_its_limit():
    pass
  assert Image.MAX_IMAGE_PIXELS is None
  leave.set()
  thread.join()
  assert Image.MAX_IMAGE_PIXELS == 7


@pytest.mark.parametrize('kind', ['TIFF', 'GIF', 'WEBP'])
def test_several_pages_or_frames_are_refused(kind):
  pages = [Image.fromarray(np.full((3, 4), 80 * i, np.uint8)) for i in range(3)]
  data = encoded(kind, save_all=True, append_images=pages[1:])
  assert 'holds 3 pages' in raises_one_sentence(pillow.open_image, 'a', data)


def test_smaller_copies_and_shots_behind_a_photo_are_no_pages():
  small = Image.new('RGB', (2, 2))
  file = io.BytesIO()
  with Image.new('RGB', (4, 3)) as image:
    image.save(file, 'MPO', save_all=True, append_images=[image])
    assert pillow.open_image('a', file.getvalue()).size == (4, 3)
    small.encoderinfo = {'tiffinfo': {254: 1}}
    file = io.BytesIO()
    image.save(file, 'TIFF', save_all=True, append_images=[small])
  assert pillow.open_image('a', file.getvalue()).size == (4, 3)


def test_whatever_pillow_raises_is_a_sentence(monkeypatch):
  for error in (NotImplementedError, RuntimeError, TypeError, MemoryError, KeyError, IndexError):

    def fail(*arguments, error=error, **options):
      raise error('no')

    image = pillow.open_image('a', encoded('BMP'))
    monkeypatch.setattr(image, 'load', fail)
    assert 'damaged' in raises_one_sentence(pillow.load, 'a', image)
    with monkeypatch.context() as patch:
      patch.setattr(Image, 'open', fail)
      assert 'not an image' in raises_one_sentence(pillow.open_image, 'a', b'x')
