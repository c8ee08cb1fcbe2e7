from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.augment import Augment, Draw
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN
from pspnet_jax.errors import UserError

CROP = (97, 121)
CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'


def natural(height, width, seed=0):
  """An image with soft and hard edges, and a label of blobs; roughly a photograph's statistics."""
  rng = np.random.default_rng(seed)
  field = cv2.GaussianBlur(rng.standard_normal((height, width, 6)).astype(np.float32), (0, 0), 9)
  label = field[..., 3:].argmax(-1).astype(np.uint8)
  colours = np.float32([[200, 60, 40], [30, 160, 90], [90, 90, 220]])
  image = colours[label] + 300 * field[..., :3]
  return np.clip(image, 0, 255).astype(np.uint8), label


def one_after_another(image, label, draw, crop, mean=IMAGENET_MEAN):
  """semseg's transforms in float32, each with the OpenCV call that semseg makes."""
  scale = {'dsize': None, 'fx': draw.scale, 'fy': draw.scale}
  image = cv2.resize(image.astype(np.float32), interpolation=cv2.INTER_LINEAR, **scale)
  label = cv2.resize(label, interpolation=cv2.INTER_NEAREST, **scale)
  height, width = label.shape
  if draw.angle:
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), draw.angle, 1)
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=mean)
    label = cv2.warpAffine(
      label, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE_LABEL
    )
  if draw.blur:
    image = cv2.GaussianBlur(image, (5, 5), 0)
  if draw.flip:
    image, label = cv2.flip(image, 1), cv2.flip(label, 1)
  down, right = max(crop[0] - height, 0), max(crop[1] - width, 0)
  border = down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_CONSTANT
  image = cv2.copyMakeBorder(image, *border, value=mean)
  label = cv2.copyMakeBorder(label, *border, value=IGNORE_LABEL)
  rows, columns = slice(draw.top, draw.top + crop[0]), slice(draw.left, draw.left + crop[1])
  return image[rows, columns], label[rows, columns]


def psnr(a, b):
  error = np.mean((a.astype(np.float64) - b) ** 2)
  return 10 * np.log10(255**2 / max(error, 1e-20))


def draws(augment, shape, number, seed=0):
  rng = np.random.default_rng(seed)
  return [augment.sample(rng, *shape) for _ in range(number)]


@pytest.mark.parametrize('shape', [(150, 200), (60, 210), (97, 121), (70, 80)])
def test_without_rotation_equals_the_steps_of_semseg(shape):
  image, label = natural(*shape)
  augment = Augment(CROP, rotate_probability=0)
  for draw in draws(augment, shape, 25):
    wanted_image, wanted_label = one_after_another(image, label, draw, CROP)
    exact = augment.apply({'image': image.astype(np.float32), 'label': label}, draw)
    assert psnr(exact['image'], wanted_image) >= 100, draw
    np.testing.assert_array_equal(exact['label'], wanted_label, err_msg=str(draw))
    rounded = augment.apply({'image': image, 'label': label}, draw)['image']
    # A warp and a blur round to whole numbers, the warp by at most a half.
    assert np.abs(rounded - wanted_image).max() <= (1.01 if draw.blur else 0.51), draw


# semseg interpolates twice where the warp does once, which sharp detail shows most: the smaller the
# picture, the lower the agreement. Geometry that is off by half a pixel has a mean of 31 dB.
@pytest.mark.parametrize(
  'shape, crop, decibel, differing',
  [
    ((512, 683), (473, 473), 33, 0.025),
    ((150, 200), CROP, 30, 0.035),
    ((60, 210), CROP, 30, 0.035),
    ((70, 80), CROP, 30, 0.035),
  ],
)
def test_with_rotation_stays_close_to_the_steps_of_semseg(shape, crop, decibel, differing):
  image, label = natural(*shape)
  augment, agreement = Augment(crop, rotate_probability=1), []
  for draw in draws(augment, shape, 12):
    wanted_image, wanted_label = one_after_another(image, label, draw, crop)
    found = augment.apply({'image': image, 'label': label}, draw)
    agreement.append(psnr(found['image'], wanted_image))
    assert np.mean(found['label'] != wanted_label) <= differing, draw
  assert min(agreement) >= decibel
  assert np.mean(agreement) >= 40


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_scenes_match_the_steps_of_semseg():
  crop, agreement = (473, 473), []
  for index, path in enumerate(sorted(CAMVID.glob('images/train/*.jpg'))[::20]):
    image = read_image(path)
    label = np.array(Image.open(CAMVID / 'labels' / 'train' / f'{path.stem}.png'))
    (draw,) = draws(Augment(crop, rotate_probability=1), label.shape, 1, seed=index)
    wanted_image, wanted_label = one_after_another(image, label, draw, crop)
    found = Augment(crop).apply({'image': image, 'label': label}, draw)
    agreement.append(psnr(found['image'], wanted_image))
    assert np.mean(found['label'] != wanted_label) <= 0.025, draw
  assert min(agreement) >= 30
  assert np.median(agreement) >= 40


def test_image_and_label_move_together():
  _, label = natural(300, 400)
  colours = np.uint8([[250, 0, 0], [0, 250, 0], [0, 0, 250]])
  augment = Augment(CROP, blur_probability=0, rotate_probability=1)
  for draw in draws(augment, label.shape, 25):
    found = augment.apply({'image': colours[label], 'label': label}, draw)
    inside = found['label'] != IGNORE_LABEL
    seen = found['image'].argmax(-1)
    # cv2.resize's nearest neighbour lies half a pixel off its bilinear one, hence not 0.99.
    assert np.mean(seen[inside] == found['label'][inside]) > 0.94, draw
    padding = np.abs(found['image'] - np.float32(IMAGENET_MEAN)).max(-1) < 0.51
    assert np.mean(padding == ~inside) > 0.97, draw


def test_nothing_drawn_only_pads_and_crops():
  image, label = natural(80, 200)
  draw = Draw(height=80, width=200, scale=1.0, angle=0.0, blur=False, flip=False, top=0, left=33)
  found = Augment(CROP).apply({'image': image, 'label': label}, draw)
  np.testing.assert_array_equal(found['image'][8:88], image[:, 33 : 33 + 121])
  np.testing.assert_array_equal(found['label'][8:88], label[:, 33 : 33 + 121])
  assert (found['label'][:8] == IGNORE_LABEL).all()
  assert (found['label'][88:] == IGNORE_LABEL).all()
  assert (found['image'][:8] == np.round(IMAGENET_MEAN)).all()


def test_flip_mirrors_image_and_label():
  image, label = natural(*CROP)
  draw = Draw(height=97, width=121, scale=1.0, angle=0.0, blur=False, flip=True, top=0, left=0)
  found = Augment(CROP).apply({'image': image, 'label': label}, draw)
  np.testing.assert_array_equal(found['image'], image[:, ::-1])
  np.testing.assert_array_equal(found['label'], label[:, ::-1])


def test_positive_angles_turn_counter_clockwise():
  image, label = np.zeros((101, 101, 3), np.uint8), np.zeros((101, 101), np.uint8)
  label[48:53, 80:100] = 1  # a bar on the right goes up
  draw = Draw(height=101, width=101, scale=1.0, angle=90.0, blur=False, flip=False, top=0, left=0)
  found = Augment((101, 101)).apply({'image': image, 'label': label}, draw)
  rows, columns = np.nonzero(found['label'] == 1)
  assert rows.max() < 25
  assert 45 <= columns.min() <= columns.max() <= 55


def test_labels_are_never_mixed():
  rng = np.random.default_rng(0)
  label = rng.choice(np.uint8([3, 200, 255]), (60, 90))
  example = {'image': np.zeros((60, 90, 3), np.uint8), 'label': label, 'name': 'a'}
  for seed in range(20):
    found = Augment(CROP)(example, np.random.default_rng(seed))
    assert set(np.unique(found['label'])) <= {3, 200, 255}
    assert found['label'].dtype == found['image'].dtype == np.uint8
    assert found['image'].shape == (*CROP, 3)
    assert set(found) == {'image', 'label'}


def test_drawn_parameters_have_semsegs_distributions():
  many = draws(Augment(CROP), (150, 200), 4000)
  scale = np.sort([d.scale for d in many])
  assert np.abs(scale - np.linspace(0.5, 2, 4000)).max() < 0.05  # Kolmogorov-Smirnov, p ~ 1e-3
  angle = np.sort([d.angle for d in many if d.angle])
  assert np.abs(angle - np.linspace(-10, 10, len(angle))).max() < 1
  for probability in (
    len(angle) / 4000,
    np.mean([d.flip for d in many]),
    np.mean([d.blur for d in many]),
  ):
    assert abs(probability - 0.5) < 0.03
  for d in many:
    assert (d.height, d.width) == (round(150 * d.scale), round(200 * d.scale))
  # independent of each other
  table = np.array([(d.scale, d.angle != 0, d.flip, d.blur) for d in many], float)
  assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.06


def test_crops_reach_every_place_equally_often():
  augment = Augment((10, 20), scale=(1, 1))
  many = draws(augment, (13, 20), 4000)
  assert {d.left for d in many} == {0}
  counts = np.bincount([d.top for d in many])
  assert len(counts) == 4
  assert counts.min() > 900


def test_size_of_the_scaled_image_is_opencvs():
  image = np.zeros((150, 201), np.uint8)
  for draw in draws(Augment(CROP), image.shape, 200):
    resized = cv2.resize(image, None, fx=draw.scale, fy=draw.scale)
    assert resized.shape == (draw.height, draw.width)


def test_equal_random_numbers_give_equal_results_and_leave_the_example_alone():
  image, label = natural(150, 200)
  image.setflags(write=False)
  label.setflags(write=False)
  example = {'image': image, 'label': label, 'name': 'a'}
  first, second = (Augment(CROP)(example, np.random.default_rng(5)) for _ in range(2))
  np.testing.assert_array_equal(first['image'], second['image'])
  np.testing.assert_array_equal(first['label'], second['label'])


def test_the_number_of_random_numbers_does_not_depend_on_what_they_are():
  nothing = Augment(CROP, rotate_probability=0, flip_probability=0, blur_probability=0)
  everything = Augment(CROP, rotate_probability=1, flip_probability=1, blur_probability=1)
  for augment in (nothing, everything):
    rng = np.random.default_rng(0)
    augment.sample(rng, 100, 100)
    assert rng.random() == np.random.default_rng(0).random(8)[7]


@pytest.mark.parametrize(
  'options, named',
  [
    ({'crop_size': (0, 5)}, 'crop_size'),
    ({'scale': (2.0, 0.5)}, 'scale'),
    ({'scale': (0.0, 1.0)}, 'scale'),
    ({'rotate': (10.0, -10.0)}, 'rotate'),
    ({'rotate_probability': 1.5}, 'rotate_probability'),
    ({'blur_probability': -0.1}, 'blur_probability'),
    ({'flip_probability': 50}, 'flip_probability'),
    ({'mean': (1.0,)}, 'mean'),
  ],
)
def test_impossible_parameters_are_named(options, named):
  with pytest.raises(UserError, match=named):
    Augment(**{'crop_size': CROP, **options})
