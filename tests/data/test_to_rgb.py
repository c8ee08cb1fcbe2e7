"""One rule for files, Pillow's images and arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.decode import read_image
from pspnet_jax.data.to_rgb import images_of, to_rgb
from pspnet_jax.errors import UserError


@pytest.fixture
def rgb():
  return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def one_sentence(image):
  """The message for what is no image."""
  with pytest.raises(UserError) as caught:
    to_rgb(image)
  message = str(caught.value)
  assert message.endswith('.') and '. ' not in message and '\n' not in message
  return message


def test_path_text_bytes_pillow_and_arrays_are_the_same_image(tmp_path, rgb):
  path = tmp_path / 'a.png'
  Image.fromarray(rgb).save(path)
  data = path.read_bytes()
  for image in (
    *(path, str(path), data, bytearray(data), memoryview(data)),
    *(Image.open(path), Image.fromarray(rgb), rgb, jnp.asarray(rgb)),
    rgb.transpose(1, 0, 2).copy().transpose(1, 0, 2),  # another order in memory
  ):
    found = to_rgb(image)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, rgb)


def test_torch_tensors_are_taken(rgb):
  torch = pytest.importorskip('torch')
  np.testing.assert_array_equal(to_rgb(torch.from_numpy(rgb)), rgb)
  assert 'channels first' in one_sentence(torch.from_numpy(rgb).permute(2, 0, 1))
  assert 'NumPy cannot read this Tensor' in one_sentence(torch.ones(2, 2, 3, requires_grad=True))


def test_images_turned_from_bgr_are_taken(rgb):
  np.testing.assert_array_equal(
    to_rgb(rgb[..., ::-1]), np.stack([rgb[..., 2 - i] for i in range(3)], -1)
  )


@pytest.mark.filterwarnings('ignore:Palette images')  # Pillow's advice, no matter here
@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGBA', 'CMYK'])
def test_pillow_images_of_every_mode_are_what_their_files_are(tmp_path, rgb, mode):
  alpha = Image.fromarray(rgb[..., 0])
  picture = Image.merge('RGBA', (*Image.fromarray(rgb).split(), alpha)).convert(mode)
  path = tmp_path / ('a.tif' if mode == 'CMYK' else 'a.png')
  picture.save(path)
  expected = read_image(path)
  np.testing.assert_array_equal(to_rgb(picture), expected)
  np.testing.assert_array_equal(to_rgb(Image.open(path)), expected)


def test_alpha_is_dropped_of_arrays_as_of_files(tmp_path, rgb):
  rgba = np.concatenate([rgb, rgb[..., :1]], axis=-1)  # transparent to every degree
  Image.fromarray(rgba).save(tmp_path / 'a.png')
  np.testing.assert_array_equal(to_rgb(rgba), rgb)
  np.testing.assert_array_equal(to_rgb(rgba), to_rgb(tmp_path / 'a.png'))


def test_grey_is_repeated(tmp_path, rgb):
  grey = rgb[..., 0]
  Image.fromarray(grey).save(tmp_path / 'a.png')
  expected = np.stack([grey] * 3, axis=-1)
  for image in (grey, grey[..., None], tmp_path / 'a.png', Image.fromarray(grey)):
    np.testing.assert_array_equal(to_rgb(image), expected)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pillow_images_are_held_upright_as_files_are(tmp_path, rgb, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / 'a.png'
  Image.fromarray(rgb).save(path, exif=exif)
  found = to_rgb(Image.open(path))
  assert found.shape == ((9, 6, 3) if orientation > 4 else (6, 9, 3))
  assert (orientation == 1) == np.array_equal(found, rgb)
  for other in (path, path.read_bytes()):
    np.testing.assert_array_equal(to_rgb(other), found)


def test_files_and_pillow_images_can_be_left_as_stored(tmp_path, rgb):
  exif = Image.Exif()
  exif[0x0112] = 8
  path = tmp_path / 'a.png'
  Image.fromarray(rgb).save(path, exif=exif)
  for image in (path, path.read_bytes(), Image.open(path)):
    np.testing.assert_array_equal(to_rgb(image, 'stored'), rgb)


@pytest.mark.parametrize(
  ('image', 'words'),
  [
    (np.linspace(0, 1, 12).reshape(2, 2, 3), ('float64', '[2, 2, 3]', 'from 0 to 1', 'multiply')),
    (np.full((2, 2, 3), 200, np.float32), ('float32', 'from 200 to 200', 'as uint8')),
    (np.full((2, 2, 3), [-2, 0, 2.5], np.float16), ('from -2 to 2.5', 'undo the normalisation')),
    (np.full((2, 2, 3), np.nan), ('no finite value',)),
    (np.full((2, 2, 3), [np.nan, 0, 0.5]), ('from 0 to 0.5', 'multiply')),
    (jnp.ones((2, 2, 3), jnp.bfloat16), ('bfloat16', 'from 1 to 1', 'multiply')),
    (np.ones((2, 2), bool), ('bool', 'multiply by 255')),
    (np.full((2, 2, 3), 200), ('int64', 'from 200 to 200', 'as uint8')),
    (np.ones((2, 2, 3), np.int32), ('int32', 'as uint8')),
    (np.full((2, 2, 3), 4095, np.uint16), ('uint16', '4095', 'choose which range')),
    (np.ones((2, 2, 3), complex), ('complex128', 'no real numbers')),
    (np.full((2, 2, 3), 'a'), ('<U1', 'no real numbers')),
    (np.full((2, 2, 3), object()), ('object', 'no real numbers')),
    (np.zeros((3, 8, 9), np.uint8), ('uint8', '[3, 8, 9]', 'channels first', 'transpose')),
    (np.zeros((1, 8, 9), np.float32), ('channels first',)),
    (np.zeros((8, 9, 2), np.uint8), ('[8, 9, 2]', 'neither grey [H, W] nor RGB')),
    (np.zeros(5, np.uint8), ('[5]', 'neither grey')),
    (np.zeros((2, 8, 9, 3), np.uint8), ('[2, 8, 9, 3]', 'neither grey')),
    (np.zeros((0, 9, 3), np.uint8), ('[0, 9, 3]', 'no pixels')),
    (None, ('NoneType', 'give a path')),
    (5, ('int', 'give a path')),
    ([[0, 1]], ('list', 'give a path')),
    (b'', ('0 bytes', 'empty')),
    (b'hello', ('5 bytes', 'not an image')),
    ('missing.png', ('missing.png', 'No such file')),
    (Image.new('I', (4, 3)), ('PIL image (I, 4×3)', '8 bits')),
    (Image.new('F', (4, 3)), ('PIL image (F, 4×3)', '8 bits')),
    (Image.new('La', (4, 3)), ('PIL image (La, 4×3)', 'RGB')),
  ],
)
def test_what_could_be_read_wrongly_is_refused_in_a_sentence(image, words):
  message = one_sentence(image)
  for word in words:
    assert word in message


def test_a_closed_image_is_told_from_a_damaged_one(tmp_path, rgb):
  Image.fromarray(rgb).save(tmp_path / 'a.png')
  with Image.open(tmp_path / 'a.png') as picture:
    pass
  assert 'closed' in one_sentence(picture)


def test_one_image_is_told_from_several(rgb):
  for one in ('a.png', b'', Image.fromarray(rgb), rgb, rgb[..., 0], jnp.asarray(rgb)):
    [_], several = images_of(one)
    assert not several
  for many in ([rgb, rgb], (rgb, 'a.png'), np.stack([rgb, rgb]), jnp.stack([rgb, rgb])):
    images, several = images_of(many)
    assert several and len(images) == 2
  assert images_of([]) == ([], True)
  assert images_of(np.zeros((0, 6, 9, 3), np.uint8)) == ([], True)
  [image], several = images_of(rgb[None])
  assert several and image.shape == rgb.shape
