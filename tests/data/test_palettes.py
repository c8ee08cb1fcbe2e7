"""The default colours are told apart, by the colour-blind too, as far as their number allows."""

import itertools

import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette, voc_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures.labels import ignore_colour

OKABE_ITO = '0072B2 E69F00 56B4E9 009E73 F0E442 D55E00 CC79A7'
# Linear RGB as it looks to whom one of the cones is missing: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
SEEN = {
  'normal': np.eye(3),
  'protanopia': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'deuteranopia': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
  ],
  'tritanopia': [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
  ],
}
# Most people see all colours, and many see one less: normal eyes ask for more distance.
WEIGHTS = {'normal': 0.6, 'protanopia': 1, 'deuteranopia': 1, 'tritanopia': 1}


def lab(colours, seen):
  """CIELAB (D65) of sRGB colours as some eyes see them, float64 [N, 3]."""
  rgb = np.asarray(colours, float) / 255
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  linear = np.clip(linear @ np.transpose(SEEN[seen]), 0, 1)
  to_xyz = np.array(
    [
      [0.4124564, 0.3575761, 0.1804375],
      [0.2126729, 0.7151522, 0.0721750],
      [0.0193339, 0.1191920, 0.9503041],
    ]
  )
  xyz = linear @ to_xyz.T / (0.95047, 1, 1.08883)
  f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
  return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def distances(some, others, seen):
  return np.linalg.norm(lab(some, seen)[:, None] - lab(others, seen), axis=-1)


def smallest(colours, seen):
  apart = distances(colours, colours, seen)
  return apart[~np.eye(len(colours), dtype=bool)].min()


def chosen(count):
  """The palette, computed anew."""

  def near(candidates, taken):
    return np.min([distances(candidates, taken, s).min(1) * w for s, w in WEIGHTS.items()], 0)

  def near_grid(colour):
    apart = (np.linalg.norm(labs[s] - lab([colour], s), axis=-1) * w for s, w in WEIGHTS.items())
    return np.min([*apart], 0)

  first, *rest = (tuple(bytes.fromhex(colour)) for colour in OKABE_ITO.split())
  palette = [first]
  while rest:
    palette.append(rest.pop(int(near(rest, palette).argmax())))
  grid = np.array([*itertools.product(range(0, 256, 15), repeat=3)])
  lightness = lab(grid, 'normal')[:, 0]
  grid = grid[(lightness >= 30) & (lightness <= 90)]
  labs = {seen: lab(grid, seen) for seen in SEEN}
  nearest = np.min([near_grid(colour) for colour in ((0, 0, 0), (255, 255, 255), *palette)], 0)
  while len(palette) < count:
    palette.append(tuple(grid[nearest.argmax()].tolist()))
    nearest = np.minimum(nearest, near_grid(palette[-1]))
  return tuple(palette)


def test_the_palette_is_what_its_rule_gives():
  assert default_palette(255) == chosen(255)
  assert len(set(default_palette(255))) == 255


def test_a_class_keeps_its_colour_when_classes_are_added():
  assert all(default_palette(255)[:n] == default_palette(n) for n in (0, 1, 2, 21, 150))


@pytest.mark.parametrize('count', [3, 5, 8, 11, 21, 60, 150, 255])
def test_colours_lie_farther_apart_than_vocs(count):
  ours, vocs = (
    {seen: smallest(palette(count), seen) for seen in SEEN}
    for palette in (default_palette, voc_palette)
  )
  assert min(ours.values()) > min(vocs.values())
  if count > 8:  # of fewer, VOC's are the primary colours, which the colour-blind confuse
    assert all(ours[seen] > vocs[seen] for seen in SEEN)
  expected = {11: 16, 21: 15, 60: 7.9, 150: 5}  # a difference of 2.3 can just be noticed
  assert min(ours.values()) >= expected.get(count, 3)


@pytest.mark.parametrize('seen', SEEN)
def test_no_class_is_black_or_white_or_like_ignored_pixels(seen):
  palette = default_palette(255)
  assert distances(palette, [(0, 0, 0)], seen).min() > 15
  assert distances(palette[:60], [(255, 255, 255)], seen).min() > 9
  spec = DatasetSpec(tuple(map(str, range(255))), palette)
  assert ignore_colour(spec) == (0, 0, 0)


def test_vocs_colours_are_those_of_its_development_kit():
  # The first of VOCdevkit's map: background, aeroplane, bicycle, bird, boat.
  first = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
  assert voc_palette(5) == first
  assert voc_palette(21)[20] == (0, 64, 128)  # tvmonitor
  assert len(set(voc_palette(256))) == 256
