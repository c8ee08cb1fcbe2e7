"""Context scenes: a procedural data set in which what a thing is depends on what is far away.

Three kinds of trouble that the paper's figure 2 shows, in pictures drawn on the fly:

* *mismatched relationship*: the same vehicle on the same ground is a boat where there is water at
  the far edge of the image, and a car where there is a road;
* *confusion categories*: the same wall is part of a building, or of a skyscraper if it goes up far;
* *inconspicuous classes*: signs in the colour of their wall, bushes in the green of the hills.
"""

from __future__ import annotations

import operator

import numpy as np

from pspnet_jax.data.scene_drawing import CLASS_NAMES, draw_scene
from pspnet_jax.data.spec import DatasetSpec, Example
from pspnet_jax.errors import UserError

SPEC = DatasetSpec(
  class_names=CLASS_NAMES,
  palette=(
    (135, 190, 235),  # sky
    (96, 140, 90),  # hill
    (214, 196, 150),  # ground
    (40, 100, 40),  # bush
    (190, 110, 90),  # building
    (130, 60, 130),  # skyscraper
    (250, 215, 60),  # sign
    (40, 90, 190),  # water
    (100, 100, 108),  # road
    (240, 140, 30),  # boat
    (215, 40, 60),  # car
  ),
)
# Nothing within half the width of a boat or a car tells which it is. How high a wall goes shows
# from nearer by: a small network without a pyramid still sees that at 193 pixels.
CONTEXT_CLASSES = ('boat', 'car')

_LENGTHS = {'train': 4096, 'val': 200}
_MIN_SIDE = 32  # below this a sign is less than three pixels high


class ContextScenes:
  """A `Source` of scenes, each a pure function of (seed, split, index) at any size.

  Args:
    split: 'train' or 'val': disjoint streams of random numbers.
    size: (height, width) in pixels.
    length: how many scenes; by default 4096 to train on and 200 to validate on.
    seed: picks another data set of the same kind.
    banks: 1: what lies along one edge decides what the vehicles at the other one are. 2: either
      edge decides for its half, from near enough to be seen without a pyramid.

  Raises:
    UserError: if an argument is out of range.
  """

  spec = SPEC

  def __init__(
    self,
    split: str = 'train',
    size: tuple[int, int] = (193, 193),
    length: int | None = None,
    seed: int = 0,
    banks: int = 1,
  ):
    if split not in _LENGTHS:
      raise UserError(f'context scenes have no split {split!r}: use {" or ".join(_LENGTHS)}.')
    if len(size) != 2 or min(size) < _MIN_SIDE:
      raise UserError(
        f'{size=} of a context scene: give (height, width), {_MIN_SIDE} or more each.'
      )
    length = _LENGTHS[split] if length is None else length
    if length < 1:
      raise UserError(f'{length=} of context scenes: give 1 or more.')
    if seed < 0:
      raise UserError(f'{seed=} of context scenes: give 0 or more.')
    if banks not in (1, 2):
      raise UserError(f'{banks=} of context scenes: give 1 or 2.')
    height, width = size
    self.banks = banks
    self.split, self.size, self.seed = split, (height, width), seed
    self._length = length

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, index: int) -> Example:
    index = operator.index(index)
    if not 0 <= index < self._length:
      raise IndexError(f'scene {index} of {self._length}')
    evidence_rng = self._rng(index, 1)
    evidence = [('water', 'road')[evidence_rng.integers(2)] for _ in range(self.banks)]
    image, label = draw_scene(self._rng(index, 0), evidence_rng, evidence, self.size)
    return {'image': image, 'label': label, 'name': f'{self.split}_{index:06d}'}

  def _rng(self, index: int, stream: int) -> np.random.Generator:
    key = (tuple(_LENGTHS).index(self.split), index, stream)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=key)))
