import colorsys

import cv2
import numpy as np
import pytest

from pspnet_jax.data.photometric import Distortion, Jitter


@pytest.fixture
def image():
  """Every kind of colour: greys, primaries, noise."""
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (64, 96, 3), np.uint8)
  image[:8] = np.arange(96)[None, :, None] * 2
  image[8:12] = [255, 0, 0]
  image[12:16] = [0, 0, 255]
  return image


def step_by_step(image, d):
  """PhotoMetricDistortion as mmseg defines it: each step by itself, on whole images, in BGR."""

  def convert(values, alpha=1.0, beta=0.0):
    return np.clip(values.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

  image = image[..., ::-1].copy()
  if d.brightness is not None:
    image = convert(image, beta=d.brightness)
  if d.contrast is not None and not d.contrast_last:
    image = convert(image, alpha=d.contrast)
  if d.saturation is not None:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[..., 1] = convert(hsv[..., 1], alpha=d.saturation)
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
  if d.hue is not None:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + d.hue) % 180
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
  if d.contrast is not None and d.contrast_last:
    image = convert(image, alpha=d.contrast)
  return image[..., ::-1]


@pytest.mark.parametrize('seed', range(40))
def test_equals_the_steps_of_mmseg(image, seed):
  d = Distortion.sample(np.random.default_rng(seed))
  np.testing.assert_array_equal(d.apply(image), step_by_step(image, d), err_msg=str(d))


@pytest.mark.parametrize(
  'distortion, wanted',
  [
    (Distortion(), [100, 50, 30]),
    (Distortion(brightness=20.9), [120, 70, 50]),
    (Distortion(brightness=-32.0), [68, 18, 0]),
    (Distortion(contrast=1.5), [150, 75, 45]),
    (Distortion(contrast=0.5, brightness=-10.0), [45, 20, 10]),
    (Distortion(contrast=0.5, brightness=-40.0, contrast_last=True), [30, 5, 0]),
    (Distortion(hue=60), [30, 100, 50]),  # a third of the circle: channels move on by one
  ],
)
def test_by_hand(distortion, wanted):
  found = distortion.apply(np.uint8([[[100, 50, 30]]]))
  assert np.abs(found[0, 0].astype(int) - wanted).max() <= (1 if distortion.hue else 0)


def test_saturation_moves_colours_to_and_from_grey():
  colour = np.uint8([[[100, 50, 30], [80, 80, 80]]])
  dull, vivid = (np.ptp(Distortion(saturation=x).apply(colour)[0], -1) for x in (0.5, 1.4))
  assert dull[0] < 40 and vivid[0] > 90
  assert dull[1] == vivid[1] == 0


def test_drawn_parameters_have_mmsegs_distributions():
  rng = np.random.default_rng(0)
  many = [Distortion.sample(rng) for _ in range(6000)]
  for name, low, high in (
    ('brightness', -32, 32),
    ('contrast', 0.5, 1.5),
    ('saturation', 0.5, 1.5),
    ('hue', -18, 17),
  ):
    values = np.sort([x for d in many if (x := getattr(d, name)) is not None])
    assert abs(len(values) / 6000 - 0.5) < 0.025
    assert np.abs(values - np.linspace(low, high, len(values))).max() < 0.05 * (high - low)
  assert {d.hue for d in many} == {None, *range(-18, 18)}
  assert abs(np.mean([d.contrast_last for d in many]) - 0.5) < 0.025
  table = np.array(
    [
      (d.brightness is None, d.contrast is None, d.contrast_last, d.saturation is None, not d.hue)
      for d in many
    ],
    float,
  )
  assert np.abs(np.corrcoef(table.T) - np.eye(5)).max() < 0.05


def test_always_the_same_number_of_random_numbers():
  for seed in range(5):
    rng = np.random.default_rng(seed)
    Distortion.sample(rng)
    assert rng.random() == np.random.default_rng(seed).random(10)[9]


def in_numpy(image, name, amount):
  """What PaddleSeg's functional.py does, without Pillow: blends, or hue in 256ths of the circle."""
  image = image.astype(np.float64)
  if name == 'hue':
    hsv = np.apply_along_axis(lambda c: colorsys.rgb_to_hsv(*c), -1, image / 255)
    hsv[..., 0] = (np.trunc(np.trunc(hsv[..., 0] * 255) + amount) % 256) / 255
    return 255 * np.apply_along_axis(lambda c: colorsys.hsv_to_rgb(*c), -1, hsv)
  grey = image @ [0.299, 0.587, 0.114]
  blended_with = {'brightness': 0, 'contrast': round(grey.mean()), 'saturation': grey[..., None]}
  return np.clip(blended_with[name] + amount * (image - blended_with[name]), 0, 255)


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation', 'hue'])
@pytest.mark.parametrize('amount', [0.6, 1.0, 1.37])
def test_equals_the_steps_of_paddleseg(image, name, amount):
  amount = 40 * (amount - 1) if name == 'hue' else amount
  found = Jitter(((name, amount),)).apply(image[::4, ::4])
  # 8 bits of hue and saturation: a 256th of the circle is six grey values.
  off_by = np.abs(found - in_numpy(image[::4, ::4], name, amount)).max()
  assert off_by <= (6 if name == 'hue' else 2)


def test_steps_are_taken_in_the_order_that_was_drawn(image):
  steps = ('brightness', 1.4), ('contrast', 0.6)
  there, back = (Jitter(order).apply(image) for order in (steps, steps[::-1]))
  one_by_one = Jitter(steps[1:]).apply(Jitter(steps[:1]).apply(image))
  np.testing.assert_array_equal(there, one_by_one)
  assert not np.array_equal(there, back)
  np.testing.assert_array_equal(Jitter(()).apply(image), image)


def test_drawn_parameters_have_paddlesegs_distributions():
  rng = np.random.default_rng(0)
  many = [Jitter.sample(0.4, rng).steps for _ in range(6000)]
  for name, low, high in (
    ('brightness', 0.6, 1.4),
    ('contrast', 0.6, 1.4),
    ('saturation', 0.6, 1.4),
    ('hue', -18, 18),
  ):
    values = np.sort([amount for steps in many for n, amount in steps if n == name])
    assert abs(len(values) / 6000 - 0.5) < 0.025
    assert np.abs(values - np.linspace(low, high, len(values))).max() < 0.05 * (high - low)
  first = [steps[0][0] for steps in many if len(steps) == 4]
  assert all(abs(first.count(name) / len(first) - 0.25) < 0.08 for name in {*first})
  rng = np.random.default_rng(7)
  Jitter.sample(0.4, rng)
  assert rng.random() == np.random.default_rng(7).random(13)[12]
