"""What runs on the device: each platform's way of interpolating gives the same."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference import on_device
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.geometry import matlab_taps
from pspnet_jax.inference.on_device import Pieces, Windows
from pspnet_jax.inference.protocol import PLAIN

CLASSES = 5
SPEC = DatasetSpec(tuple('abcde'), default_palette(CLASSES))
CARD = Card(network={'num_classes': CLASSES}, spec=SPEC, crop_size=(33, 41))
RNG = np.random.default_rng(0)
RULES = [
  {},
  {'flip': True},
  {'flip': True, 'flip_rule': 'logits'},
  {'flip': True, 'average': 'logits'},
]


def test_what_is_no_image_is_padding_to_the_bit():
  mean = np.float32([[123.675, 116.28, 103.53], [124, 116, 104]])
  pixels = RNG.integers(0, 256, (2, 9, 8, 3), np.uint8)
  inside = np.int32([[2, 7, 0, 8], [0, 9, 3, 5]])
  expected = np.empty((2, 9, 8, 3), np.float32)
  expected[:] = mean[:, None, None]
  expected[0, 2:7], expected[1, :, 3:5] = pixels[0, 2:7], pixels[1, :, 3:5]
  for given in (pixels, pixels.astype(np.float32)):
    padded = jax.jit(on_device._padded)(Windows(given, inside, mean))
    assert padded.dtype == jnp.float32
    np.testing.assert_array_equal(padded, expected)


def pieces(shape=(64, 64)):
  """Two windows' ways to a canvas, by MATLAB's taps: more than two of them."""
  (rows, row_weight), (columns, column_weight) = matlab_taps(33, 20), matlab_taps(41, 27)

  def rest(x, length):  # rows that have no weight
    return np.pad(x, ((0, length - len(x)), (0, 0)))

  each = [
    rest(rows.astype(np.int32), shape[0]),
    rest(row_weight.astype(np.float32), shape[0]),
    rest(columns.astype(np.int32), shape[1]),
    rest(column_weight.astype(np.float32), shape[1]),
  ]
  window, position = np.int32([2, 0]), np.int32([[5, 7], [11, 30]])  # 14×4 pixels of both
  return Pieces(window, position, *[np.stack([x] * 2) for x in each])


def added(rule, calls=(slice(0, 2),), *, align_corners=True):
  """Two windows on a canvas, by one call or more."""
  card = dataclasses.replace(CARD, protocol=dataclasses.replace(PLAIN, **rule))
  mirrored = 1 + bool(rule)
  logits = np.random.default_rng(1).normal(0, 3, (3, mirrored, 5, 6, CLASSES)).astype(np.float32)
  add = jax.jit(on_device.add_pieces(card, (33, 41), align_corners=align_corners), donate_argnums=0)
  canvas = jnp.ones((128, 128, CLASSES))
  for part in calls:
    before, canvas = canvas, add(canvas, logits, Pieces(*[x[part] for x in pieces()]))
    assert before.is_deleted()  # there are never two
  return np.asarray(canvas)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('rule', RULES, ids=['plain', 'flip', 'logits', 'last'])
@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_other_platforms_interpolate_alike(platform, rule, align_corners, monkeypatch):
  expected = added(rule, align_corners=align_corners)
  assert (expected != 1).any(-1).sum() == 2 * 20 * 27 - 14 * 4

  def choose(*arguments, default, **branches):
    return branches.get(platform, default)(*arguments)

  of_platform = types.SimpleNamespace(**{**vars(jax.lax), 'platform_dependent': choose})
  monkeypatch.setattr(on_device, 'lax', of_platform)
  found = added(rule, align_corners=align_corners)
  assert (found != expected).any()  # it was another way
  np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_windows_are_added_one_after_the_other():
  together, in_turn = added({}), added({}, [slice(0, 1), slice(1, 2)])
  np.testing.assert_array_equal(together, in_turn)
