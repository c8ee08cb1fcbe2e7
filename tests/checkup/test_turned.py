from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pspnet_jax.checkup.turned import frame_of

SCENES = Path(__file__).parents[3] / 'shared' / 'camvid'


def scene():
  """An image with a bright quarter, and its label."""
  label = np.zeros((40, 40), np.uint8)
  label[5:15, 3:18] = 1
  noise = np.random.default_rng(0).integers(0, 40, (40, 40, 3))
  return (noise + 180 * label[..., None]).astype(np.uint8), label


def stored_as(upright, orientation):
  """The pixels that a camera stores of what it sees, by Pillow's rule."""
  image = Image.fromarray(upright)
  exif = image.getexif()
  exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)  # the way back
  image.info['exif'] = exif.tobytes()
  return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize('orientation', range(2, 9))
def test_a_label_is_found_on_the_frame_it_was_drawn_on(orientation):
  image, label = scene()
  stored_image, stored_label = (stored_as(x, orientation) for x in (image, label))
  assert frame_of(image, label, orientation, 'upright') == 'right'
  assert frame_of(image, stored_label, orientation, 'upright') == 'other'
  assert frame_of(stored_image, stored_label, orientation, 'stored') == 'right'
  assert frame_of(stored_image, label, orientation, 'stored') == 'other'


def test_what_shows_nothing_stays_unknown():
  image, label = scene()
  assert frame_of(np.zeros_like(image), label, 3, 'upright') == 'unknown'
  assert frame_of(image, np.zeros_like(label), 3, 'upright') == 'unknown'


def test_a_quarter_turn_shows_in_the_size():
  image, label = scene()
  for exif in ('upright', 'stored'):
    assert frame_of(image[:30], np.zeros_like(label)[:30], 6, exif) == 'right'
    assert frame_of(image[:30], label[:, :30], 6, exif) == 'unknown'  # sizes that differ are said


@pytest.mark.skipif(not SCENES.is_dir(), reason='CamVid is not at ../shared/camvid')
@pytest.mark.parametrize('orientation', [2, 3, 4, 6])
def test_real_scenes(orientation):
  for path in sorted(SCENES.glob('labels/val/*.png'))[::20]:
    label = np.asarray(Image.open(path))[:360, :360]
    [image] = SCENES.glob(f'images/val/{path.stem}.*')
    image = np.asarray(Image.open(image).convert('RGB'))[:360, :360]
    assert frame_of(image, label, orientation, 'upright') == 'right', path
    drawn_as_stored = stored_as(label, orientation)
    assert frame_of(image, drawn_as_stored, orientation, 'upright') == 'other', path
