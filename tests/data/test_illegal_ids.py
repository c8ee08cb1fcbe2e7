"""What is said of labels that hold what is no class."""

import numpy as np
import pytest

from pspnet_jax.data.illegal_ids import refusal, settings, was_smoothed
from pspnet_jax.data.label_ids import colour_table, label_table

TABLE = label_table(range(5), ignore_ids=(7,))


def says(pixels, table):
  """The kind and the sentence."""
  error = refusal('a.png', np.asarray([pixels]), table)
  message = str(error)
  assert message.startswith('a.png has ') and message.endswith('.') and '. ' not in message
  return error.kind, message


@pytest.mark.parametrize(
  'pixels, table, hints',
  [
    ([0, 1, 9, 9, 12], TABLE, ['3 of 5 pixels', 'id 9, 12', '0-4', '(7, 255)', '`ignore:`']),
    ([1, 2, 3, 4, 5], TABLE, ['id 5', 'count from 1', '`label_offset: 1`']),
    ([0, 1, 3, 5], TABLE, ['`label_offset: 1` and `ignore: 0`', '--config.data.ignore_ids=5']),
    ([0, 1, 3], label_table((1, 2, 3)), ['id 0', '`ignore: 0`']),
    ([0, 0, 128], label_table((0, 1)), ['binary', '--config.data.label_ids=0,128']),
    ([9], label_table((0, 255)), ['no class (2 ids listed): ']),
    ([-3, 70000], TABLE, ['id -3, 70000']),
    (list(range(100, 120)), TABLE, ['20 of 20', ', ...']),
  ],
)
def test_illegal_ids_are_named_with_the_likely_cause(pixels, table, hints):
  kind, message = says(pixels, table)
  assert kind == 'illegal ids'
  for hint in hints:
    assert hint in message


def test_settings_can_be_typed_and_written():
  assert settings(label_offset=(1,), ignore_ids=(0, 9)) == (
    'write `label_offset: 1` and `ignore: 0 9` into the class file, or give '
    '--config.data.label_offset=1 --config.data.ignore_ids=0,9'
  )


def blurred(low, high, steps=9):
  """Two flat halves with a ramp between them."""
  return [low] * 100 + np.linspace(low, high, steps + 2, dtype=int).tolist() + [high] * 100


@pytest.mark.parametrize(
  'pixels, class_ids, ignored, smoothed',
  [
    (blurred(0, 255), (0, 255), (), True),
    (blurred(0, 255), (0, 1), (), True),  # 255 is ignored, and the advice is the same
    (blurred(0, 200) + blurred(100, 200), (0, 100, 200), (), True),
    ([0] * 90 + [3, 4, 5] + [255] * 90 + [251, 252, 253], (0, 255), (), True),  # a JPEG
    ([7] * 90 + [0] * 5 + [1, 2, 3, 4, 9, 10] + [26] * 90, (7, 26), (), False),  # ids nobody listed
    ([0] * 90 + [100] * 80 + [50] * 85 + [51, 52], (0, 100), (), False),  # 50 is a class
    ([0] * 90 + [1] * 90 + [2, 3], (0, 1), (), False),
    ([0] * 200 + list(range(300, 400)), (0, 1), (), False),  # depths
  ],
)
def test_smoothed_masks_are_told_from_classes_that_nobody_listed(
  pixels, class_ids, ignored, smoothed
):
  kind, message = says(pixels, label_table(class_ids, ignored))
  assert (kind == 'smoothed label') == smoothed == ('without smoothing' in message)
  assert smoothed != ('ignore' in message.partition(': ')[2])


COLOURS = colour_table([[(0, 0, 0)], [(128, 64, 128)], [(200, 0, 0)]], ignored=[(255, 255, 255)])


def packed(*colours):
  return [red << 16 | green << 8 | blue for red, green, blue in colours]


def test_unknown_colours_are_named_with_their_share_and_the_nearest():
  kind, message = says(packed((0, 0, 0), (203, 4, 0), (203, 4, 0), (1, 1, 2)), COLOURS)
  assert kind == 'unknown colour'
  assert '3 of 4 pixels (75.00%)' in message and 'unknown colour (203, 4, 0) and 1 more' in message
  assert 'nearest listed one being (200, 0, 0) at a distance of 5.0' in message
  assert '`ignore:`' in message
  assert 'holds ids' in says(packed((0, 0, 0), (1, 1, 1), (2, 2, 2)), COLOURS)[1]


def test_smoothed_colours():
  ramp = [(i * 200 // 11, 0, 0) for i in range(1, 11)]
  pixels = packed(*[(0, 0, 0)] * 40, *ramp, *[(200, 0, 0)] * 40)
  kind, message = says(pixels, COLOURS)
  assert kind == 'smoothed label' and 'nearest neighbour' in message


def test_nothing_illegal_is_not_smoothed():
  assert not was_smoothed({0: 5, 1: 5}, TABLE) and not was_smoothed({}, TABLE)
