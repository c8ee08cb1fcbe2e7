import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.augment import Augment, Plan
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN
from pspnet_jax.errors import UserError

CROP = (97, 121)
SHARED = Path(__file__).parents[3] / 'shared'
CAMVID, ADE20K = SHARED / 'camvid', SHARED / 'sceneparsing'


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
  scale = {'dsize': None, 'fx': draw.scale[1], 'fy': draw.scale[0]}
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
  if draw.vertical_flip:
    image, label = cv2.flip(image, 0), cv2.flip(label, 0)
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


# OpenCV works out places and weights in fixed-point or float32 numbers, so that a
# part of a picture may round otherwise than the whole does, in one pixel of thousands.
@pytest.mark.parametrize('shape', [(150, 200), (60, 210), (97, 121), (70, 80)])
def test_with_rotation_equals_the_steps_of_semseg(shape):
  image, label = natural(*shape)
  for angles in ((-10.0, 10.0), (-180.0, 180.0)):
    augment = Augment(CROP, rotate=angles, rotate_probability=1)
    for draw in draws(augment, shape, 25):
      wanted_image, wanted_label = one_after_another(image, label, draw, CROP)
      exact = augment.apply({'image': image.astype(np.float32), 'label': label}, draw)
      assert psnr(exact['image'], wanted_image) >= 75, draw
      assert np.mean(exact['label'] != wanted_label) <= 5e-4, draw
      # Two warps and a blur round to whole numbers.
      rounded = augment.apply({'image': image, 'label': label}, draw)['image']
      assert psnr(rounded, wanted_image) >= 50, draw


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_scenes_match_the_steps_of_semseg():
  paths = [
    (path, CAMVID / 'labels' / 'train' / f'{path.stem}.png')
    for path in sorted(CAMVID.glob('images/train/*.jpg'))[::20]
  ]
  paths += [
    (path, ADE20K / 'annotations' / f'{path.stem}.png') for path in ADE20K.glob('images/*.jpg')
  ]
  augment = Augment((473, 473), rotate_probability=1)
  for index, (image_path, label_path) in enumerate(paths):
    image, label = read_image(image_path), np.array(Image.open(label_path))
    (draw,) = draws(augment, label.shape, 1, seed=index)
    wanted_image, wanted_label = one_after_another(image, label, draw, augment.crop_size)
    found = augment.apply({'image': image, 'label': label}, draw)
    assert psnr(found['image'], wanted_image) >= 50, draw
    assert np.mean(found['label'] != wanted_label) <= 1e-4, draw


def mmseg_steps(image, label, draw, base_size, ratio, crop):
  """RandomResize, RandomCrop, RandomFlip of mmseg, then SegDataPreProcessor's padding."""
  height, width = label.shape
  long, short = (int(side * ratio) for side in base_size)
  factor = min(long / max(height, width), short / min(height, width))
  size = int(width * factor + 0.5), int(height * factor + 0.5)
  image = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
  label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
  if draw.flip:  # mmseg flips the crop; mirrored, its place has the same distribution
    image, label = cv2.flip(image, 1), cv2.flip(label, 1)
  rows, columns = slice(draw.top, draw.top + crop[0]), slice(draw.left, draw.left + crop[1])
  image, label = image[rows, columns], label[rows, columns]
  missing = 0, crop[0] - label.shape[0], 0, crop[1] - label.shape[1], cv2.BORDER_CONSTANT
  # After normalisation, with 0: that is the mean.
  image = cv2.copyMakeBorder(image, *missing, value=IMAGENET_MEAN)
  return image, cv2.copyMakeBorder(label, *missing, value=IGNORE_LABEL)


MMSEG = {'rotate_probability': 0, 'blur_probability': 0, 'pad_centred': False}


@pytest.mark.parametrize('shape', [(150, 200), (60, 210), (170, 64)])
def test_equals_the_steps_of_mmseg(shape):
  image, label = natural(*shape)
  augment = Augment(CROP, base_size=(260, 110), **MMSEG)
  for seed in range(25):
    (draw,) = draws(augment, shape, 1, seed=seed)
    ratio = 0.5 + 1.5 * np.random.default_rng(seed).random()
    wanted_image, wanted_label = mmseg_steps(image, label, draw, (260, 110), ratio, CROP)
    found = augment.apply({'image': image.astype(np.float32), 'label': label}, draw)
    assert psnr(found['image'], wanted_image) >= 100, draw
    np.testing.assert_array_equal(found['label'], wanted_label, err_msg=str(draw))


def test_base_size_is_scaled_uniformly():
  many = draws(Augment(CROP, base_size=(2048, 512), **MMSEG), (512, 683), 4000)
  # The short sides reach 512 before the long ones reach 2048.
  ratio = np.sort([d.height / 512 for d in many])
  assert np.abs(ratio - np.linspace(0.5, 2, 4000)).max() < 0.05
  assert np.allclose([d.width / d.height for d in many], 683 / 512, atol=3e-3)


def test_a_crop_of_mostly_one_class_is_drawn_anew():
  label = np.zeros((40, 400), np.uint8)
  label[:, 200:], label[:, 210:220], label[:, 390:] = 1, 255, 2
  augment = Augment((40, 40), scale=(1, 1), flip_probability=0, cat_max_ratio=0.75, **MMSEG)
  example = {'image': np.zeros((40, 400, 3), np.uint8), 'label': label}

  def varied(seen):
    counts = np.unique(seen[seen != IGNORE_LABEL], return_counts=True)[1]
    return len(counts) > 1 and counts.max() / counts.sum() < 0.75

  found = [varied(augment(example, np.random.default_rng(i))['label']) for i in range(2000)]
  places = [varied(label[:, left : left + 40]) for left in range(361)]
  # One crop of 12 will do; of the eleven that may be drawn, the last is taken as it is.
  assert abs(np.mean(found) - (1 - (1 - np.mean(places)) ** 11)) < 0.035
  only_one = {'image': example['image'], 'label': np.full((40, 400), 3, np.uint8)}
  assert (augment(only_one, np.random.default_rng(0))['label'] == 3).all()


def test_the_options_of_mmseg_leave_the_other_draws_as_they_were():
  image, label = natural(150, 200)
  example = {'image': image, 'label': label}
  plain = Augment(CROP)(example, np.random.default_rng(3))
  varied = Augment(CROP, cat_max_ratio=0.999)(example, np.random.default_rng(3))
  np.testing.assert_array_equal(plain['image'], varied['image'])
  options = {'base_size': (260, 110), 'cat_max_ratio': 0.75, 'photometric': True, **MMSEG}
  for augment in (Augment(CROP, **options), Augment(CROP, **options | {'cat_max_ratio': 0.01})):
    rng = np.random.default_rng(0)
    first = augment(example, rng)
    assert rng.random() == np.random.default_rng(0).random(37)[36]  # 7 + 2 x 10 + 9 numbers
    second = augment(example, np.random.default_rng(0))
    np.testing.assert_array_equal(first['image'], second['image'])


@pytest.mark.parametrize('colours', [{'photometric': True}, {'jitter': 0.4}], ids=str)
def test_padding_is_not_distorted(colours):
  image, label = natural(60, 80)
  augment = Augment(CROP, scale=(1, 1), **colours, **MMSEG)
  for seed in range(10):
    found = augment({'image': image, 'label': label}, np.random.default_rng(seed))
    assert (found['image'][60:] == np.round(IMAGENET_MEAN)).all()
    assert (found['label'][60:] == IGNORE_LABEL).all() and (found['label'][:60, :80] < 3).all()


def test_scales_in_steps_are_paddlesegs_and_as_often_as_each_other():
  many = draws(Augment(CROP, scale_step=0.25, **MMSEG), (400, 400), 4200)
  sizes, counts = np.unique([d.height for d in many], return_counts=True)
  assert sizes.tolist() == [200, 300, 400, 500, 600, 700, 800]  # linspace(0.5, 2, 7)
  assert np.abs(counts / 4200 - 1 / 7).max() < 0.02
  assert {d.height for d in draws(Augment(CROP, scale=(1, 1), scale_step=0.25), (9, 9), 9)} == {9}


def test_jitter_draws_after_everything_else():
  image, label = natural(150, 200)
  example = {'image': image, 'label': label}
  rng = np.random.default_rng(0)
  found = Augment(CROP, jitter=0.4, **MMSEG)(example, rng)
  assert rng.random() == np.random.default_rng(0).random(20)[19]  # 7 + 12 numbers
  plain = Augment(CROP, **MMSEG)(example, np.random.default_rng(0))
  np.testing.assert_array_equal(found['label'], plain['label'])
  assert not np.array_equal(found['image'], plain['image'])


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
  draw = Plan(
    height=80, width=200, scale=(1.0, 1.0), angle=0.0, blur=False, flip=False, top=0, left=33
  )
  found = Augment(CROP).apply({'image': image, 'label': label}, draw)
  np.testing.assert_array_equal(found['image'][8:88], image[:, 33 : 33 + 121])
  np.testing.assert_array_equal(found['label'][8:88], label[:, 33 : 33 + 121])
  assert (found['label'][:8] == IGNORE_LABEL).all()
  assert (found['label'][88:] == IGNORE_LABEL).all()
  assert (found['image'][:8] == np.round(IMAGENET_MEAN)).all()


def test_flip_mirrors_image_and_label():
  image, label = natural(*CROP)
  draw = Plan(
    height=97, width=121, scale=(1.0, 1.0), angle=0.0, blur=False, flip=True, top=0, left=0
  )
  found = Augment(CROP).apply({'image': image, 'label': label}, draw)
  np.testing.assert_array_equal(found['image'], image[:, ::-1])
  np.testing.assert_array_equal(found['label'], label[:, ::-1])


def test_positive_angles_turn_counter_clockwise():
  image, label = np.zeros((101, 101, 3), np.uint8), np.zeros((101, 101), np.uint8)
  label[48:53, 80:100] = 1  # a bar on the right goes up
  draw = Plan(
    height=101, width=101, scale=(1.0, 1.0), angle=90.0, blur=False, flip=False, top=0, left=0
  )
  found = Augment((101, 101)).apply({'image': image, 'label': label}, draw)
  rows, columns = np.nonzero(found['label'] == 1)
  assert rows.max() < 25
  assert 45 <= columns.min() <= columns.max() <= 55


@pytest.mark.parametrize('shape', [(150, 200), (60, 210), (70, 80)])
def test_vertical_flips_are_those_of_the_whole_canvas(shape):
  image, label = natural(*shape)
  augment = Augment(CROP, rotate_probability=0, vertical_flip_probability=0.5)
  plans = draws(augment, shape, 25)
  assert 5 < sum(plan.vertical_flip for plan in plans) < 20
  for plan in plans:
    wanted_image, wanted_label = one_after_another(image, label, plan, CROP)
    found = augment.apply({'image': image.astype(np.float32), 'label': label}, plan)
    assert psnr(found['image'], wanted_image) >= 100, plan
    np.testing.assert_array_equal(found['label'], wanted_label, err_msg=str(plan))


@pytest.mark.parametrize('turns', [1, 2, 3])
def test_a_quarter_turn_is_rot90_of_a_crop_whose_sides_are_swapped(turns):
  image, label = natural(150, 200)
  options = {'scale': (1.0, 2.0), 'rotate_probability': 1.0}  # nothing needs padding
  upright = Augment(CROP[::-1] if turns % 2 else CROP, **options)
  for plan in draws(upright, label.shape, 25):
    plan = dataclasses.replace(plan, vertical_flip=plan.left % 2 == 0)
    wanted = upright.apply({'image': image, 'label': label}, plan)
    plan = dataclasses.replace(plan, quarter_turns=turns)
    found = Augment(CROP, **options).apply({'image': image, 'label': label}, plan)
    assert found['label'].shape == CROP
    for name in ('image', 'label'):
      np.testing.assert_array_equal(found[name], np.rot90(wanted[name], turns), err_msg=str(plan))


@pytest.mark.parametrize('turns', [1, 2, 3])
@pytest.mark.parametrize('pad_centred', [True, False])
@pytest.mark.parametrize('shape', [(70, 81), (90, 300), (300, 90)])
def test_a_turned_image_is_padded_as_if_it_had_come_like_this(shape, pad_centred, turns):
  image, label = natural(*shape)
  augment = Augment(CROP, pad_centred=pad_centred)
  plan = Plan(
    height=shape[0],
    width=shape[1],
    scale=(1.0, 1.0),
    angle=0.0,
    blur=False,
    flip=False,
    top=0,
    left=0,
    quarter_turns=turns,
  )
  found = augment.apply({'image': image, 'label': label}, plan)
  sides = CROP[::-1] if turns % 2 else CROP
  image, label = (np.rot90(x[: sides[0], : sides[1]], turns) for x in (image, label))
  height, width = label.shape
  plan = dataclasses.replace(plan, height=height, width=width, quarter_turns=0)
  wanted = augment.apply({'image': image.copy(), 'label': label.copy()}, plan)
  for name in ('image', 'label'):
    np.testing.assert_array_equal(found[name], wanted[name])


def test_a_crop_of_mostly_one_class_is_drawn_anew_whichever_way_it_is_turned():
  label = np.zeros((400, 60), np.uint8)
  label[200:] = 1
  options = {'scale': (1, 1), 'cat_max_ratio': 0.75, **MMSEG}
  augment = Augment(
    (30, 40), vertical_flip_probability=0.5, quarter_turn_probability=0.9, **options
  )
  example = {'image': np.zeros((400, 60, 3), np.uint8), 'label': label}
  ones = [augment(example, np.random.default_rng(i))['label'].mean() for i in range(1000)]
  # 15 to 20 of 370 or 361 places will do, of which eleven are tried: 0.35 to 0.46.
  assert 0.3 < np.mean([0.25 < x < 0.75 for x in ones]) < 0.55


def test_flips_and_turns_have_the_probabilities_asked_for():
  augment = Augment(CROP, vertical_flip_probability=0.3, quarter_turn_probability=0.6)
  many = draws(augment, (150, 200), 4000)
  turns = np.bincount([plan.quarter_turns for plan in many]) / 4000
  assert np.abs(turns - [0.4, 0.2, 0.2, 0.2]).max() < 0.03
  assert abs(np.mean([plan.vertical_flip for plan in many]) - 0.3) < 0.03
  table = np.array([(p.scale[0], p.flip, p.vertical_flip, p.quarter_turns) for p in many], float)
  assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.06
  for quarter_turns in (0, 1):  # crops reach every place of the turned image
    sides = CROP[::-1] if quarter_turns else CROP
    wide = [plan for plan in many if plan.quarter_turns == quarter_turns and plan.scale[0] > 1.5]
    free = [
      (plan.top / (plan.height - sides[0]), plan.left / (plan.width - sides[1])) for plan in wide
    ]
    assert np.min(free) < 0.02 and np.max(free) > 0.98 and np.max(free) <= 1


def test_flips_and_turns_leave_the_other_draws_as_they_were():
  plain = draws(Augment(CROP), (150, 200), 1)[0]
  for options in ({'vertical_flip_probability': 1.0}, {'quarter_turn_probability': 1.0}):
    augment = Augment(CROP, **options)
    plan = draws(augment, (150, 200), 1)[0]
    assert (plan.scale, plan.angle, plan.blur, plan.flip) == (
      *(plain.scale, plain.angle, plain.blur, plain.flip),
    )
    rng = np.random.default_rng(0)
    augment.sample(rng, 100, 100)
    assert rng.random() == np.random.default_rng(0).random(11)[10]  # 7 + 3 numbers


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
  scale = np.sort([d.scale[0] for d in many])
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
    assert (d.height, d.width) == (round(150 * d.scale[0]), round(200 * d.scale[1]))
    assert d.scale[0] == d.scale[1]
  # independent of each other
  table = np.array([(d.scale[0], d.angle != 0, d.flip, d.blur) for d in many], float)
  assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize('flip_probability', [0, 1])
def test_crops_reach_every_place_equally_often(flip_probability):
  augment = Augment((10, 20), scale=(1, 1), flip_probability=flip_probability)
  many = draws(augment, (13, 25), 6000)
  for offsets, places in (([d.top for d in many], 4), ([d.left for d in many], 6)):
    counts = np.bincount(offsets)
    assert len(counts) == places
    assert np.abs(counts / 6000 - 1 / places).max() < 0.02
  assert {d.top for d in draws(Augment((13, 20), scale=(1, 1)), (13, 25), 50)} == {0}


def test_size_of_the_scaled_image_is_opencvs():
  image = np.zeros((150, 201), np.uint8)
  for draw in draws(Augment(CROP), image.shape, 200):
    resized = cv2.resize(image, None, fx=draw.scale[1], fy=draw.scale[0])
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
    ({'vertical_flip_probability': 1.5}, 'vertical_flip_probability'),
    ({'quarter_turn_probability': -0.5}, 'quarter_turn_probability'),
    ({'mean': (1.0,)}, 'mean'),
    ({'base_size': (2048,)}, 'base_size'),
    ({'cat_max_ratio': 75}, 'cat_max_ratio'),
    ({'scale_step': -0.25}, 'scale_step'),
    ({'scale_step': 0.4}, r'scale_step=0\.4 must divide scale=\(0\.5, 2\.0\)'),
    ({'jitter': 40.0}, 'jitter'),
    ({'jitter': 0.4, 'photometric': True}, 'set one only'),
  ],
)
def test_impossible_parameters_are_named(options, named):
  with pytest.raises(UserError, match=named):
    Augment(**{'crop_size': CROP, **options})
