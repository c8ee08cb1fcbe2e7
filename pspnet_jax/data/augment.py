"""The training augmentations of hszhao/semseg (the default), mmsegmentation and PaddleSeg.

Their transforms make whole images, one after another, of which the crop throws most away. Here a
plan is drawn first, and only what the crop will show is made: see `warp`. Vertical flips and
quarter turns are for pictures without an upright, such as aerial and medical ones, and are off.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pspnet_jax.data.photometric import Distortion, Jitter
from pspnet_jax.data.sizes import fit_size
from pspnet_jax.data.spec import IGNORE_LABEL, IMAGENET_MEAN, Example
from pspnet_jax.data.warp import Canvas, warp_image, warp_label
from pspnet_jax.errors import UserError

MORE_CROPS = 10  # how many mmseg's RandomCrop may draw after the first
_TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


@dataclasses.dataclass(frozen=True)
class Plan(Canvas):
  """Says what happens to one example: it becomes a canvas, of which a crop is shown.

  The canvas is flipped and then cropped at `top` and `left`, where it has been padded to at least
  the crop's size. Last, the crop is turned.
  """

  blur: bool
  flip: bool
  top: int
  left: int
  distortion: Distortion | Jitter | None = None
  vertical_flip: bool = False
  quarter_turns: int = 0  # counter-clockwise, 0 to 3


@dataclasses.dataclass(frozen=True)
class Augment:
  """Applies a random scale, rotation, blur, flip and crop (semseg's transforms, in that order).

  With `base_size`=(2048, 512), `cat_max_ratio`=0.75, `photometric` and without rotation and blur it
  is mmseg's pipeline for ADE20K: RandomResize, RandomCrop, RandomFlip, PhotoMetricDistortion
  (mmseg/datasets/transforms/transforms.py and mmcv/transforms/processing.py).

  With `scale_step`=0.25 and `jitter`=0.4, a grey mean, and without rotation and blur it is
  PaddleSeg's: ResizeStepScaling, RandomPaddingCrop, RandomHorizontalFlip, RandomDistort
  (paddleseg/transforms/transforms.py). There, colours change after padding.

  Attributes:
    crop_size: height and width of what comes out.
    scale: range of the uniformly drawn scale.
    scale_step: distance of the scales that are drawn from, the ends of the range among them; 0:
      any in the range.
    rotate: range of the uniformly drawn angle in degrees.
    rotate_probability: how often to rotate at all. The paper rotates and blurs for ADE20K and VOC
      only.
    blur_probability: how often to blur, with a 5x5 Gaussian.
    flip_probability: how often to mirror left and right.
    mean: RGB colour around the image; around the label is IGNORE_LABEL. mmseg pads with 0 after it
      has subtracted the mean, which is the same.
    base_size: the box whose largest fitting size the drawn scale multiplies, whichever side is the
      longer; None: it multiplies the image's own size.
    cat_max_ratio: a crop of one class, or of which one class has this share or more of the labelled
      pixels, is drawn anew, up to ten times; 1: every crop will do.
    photometric: whether to change colours; see `Distortion`.
    jitter: the most by which brightness, contrast and saturation change; see `Jitter`; 0: not.
    pad_centred: an image below the crop's size goes into its middle (semseg); else into the corner
      at the top and left (mmseg, PaddleSeg).
    vertical_flip_probability: how often to mirror top and bottom.
    quarter_turn_probability: how often to turn by 90, 180 or 270 degrees, each as often as the
      others. Pixels only change places.

  Raises:
    UserError: for an empty crop, a range that is reversed or no whole number of steps, two ways
      to change colours, or a probability outside 0-1.
  """

  crop_size: tuple[int, int]
  scale: tuple[float, float] = (0.5, 2.0)
  scale_step: float = 0.0
  rotate: tuple[float, float] = (-10.0, 10.0)
  rotate_probability: float = 0.5
  blur_probability: float = 0.5
  flip_probability: float = 0.5
  mean: tuple[float, float, float] = IMAGENET_MEAN
  base_size: tuple[int, int] | None = None
  cat_max_ratio: float = 1.0
  photometric: bool = False
  jitter: float = 0.0
  pad_centred: bool = True
  vertical_flip_probability: float = 0.0
  quarter_turn_probability: float = 0.0

  def __post_init__(self):
    if len(self.crop_size) != 2 or min(self.crop_size) < 1:
      raise UserError(f'crop_size={self.crop_size} must be a height and a width of 1 or more.')
    if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
      raise UserError(f'scale={self.scale} must be a range of positive numbers, lower one first.')
    steps = (self.scale[1] - self.scale[0]) / self.scale_step if self.scale_step else 0
    if not 0 <= self.scale_step < np.inf or abs(steps - round(steps)) > 1e-6:
      raise UserError(f'scale_step={self.scale_step} must divide scale={self.scale}, or be 0.')
    if len(self.rotate) != 2 or not -180 <= self.rotate[0] <= self.rotate[1] <= 180:
      raise UserError(f'rotate={self.rotate} must be a range of degrees, lower one first.')
    if self.base_size is not None and (len(self.base_size) != 2 or min(self.base_size) < 1):
      raise UserError(f'base_size={self.base_size} must be two numbers of pixels, or None.')
    chances = [field.name for field in dataclasses.fields(self) if 'probability' in field.name]
    for name in (*chances, 'cat_max_ratio', 'jitter'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f'{name}={getattr(self, name)} must lie between 0 and 1.')
    if self.photometric and self.jitter:
      raise UserError(f'photometric and jitter={self.jitter} both change colours: set one only.')
    if len(self.mean) != 3:
      raise UserError(f'mean={self.mean} must be three numbers, RGB in 0-255.')

  def __call__(self, example: Example, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Augments image and label alike; see `apply`."""
    label = example['label']
    plan = self.sample(rng, *label.shape)
    if self.cat_max_ratio < 1:
      plan = self._with_varied_crop(label, plan, rng.random((MORE_CROPS, 2)))
    if self.photometric:
      plan = dataclasses.replace(plan, distortion=Distortion.sample(rng))
    elif self.jitter:
      plan = dataclasses.replace(plan, distortion=Jitter.sample(self.jitter, rng))
    return self.apply(example, plan)

  def sample(self, rng: np.random.Generator, height: int, width: int) -> Plan:
    """Draws what to do with an image of this size.

    It takes seven random numbers, whatever they decide, and three more if there are vertical flips
    or quarter turns.
    """
    ratio, rotated, angle, blur, flip, top, left = rng.random(7)
    vertical_flip, turns = self._vertical_flip_and_turns(rng)
    if self.scale_step:
      steps = round((self.scale[1] - self.scale[0]) / self.scale_step)
      ratio = int(ratio * (steps + 1)) / max(steps, 1)
    ratio = self.scale[0] + (self.scale[1] - self.scale[0]) * ratio
    angle = self.rotate[0] + (self.rotate[1] - self.rotate[0]) * angle
    if self.base_size is None:
      # cv2.resize rounds like this, half to even.
      canvas = max(1, round(height * ratio)), max(1, round(width * ratio))
      scale = float(ratio), float(ratio)
    else:
      canvas = fit_size((height, width), [int(side * ratio) for side in self.base_size])
      scale = canvas[0] / height, canvas[1] / width
    top, left = self._crop_offset(canvas, turns, top, left)
    return Plan(
      height=canvas[0],
      width=canvas[1],
      scale=scale,
      angle=float(angle) if rotated < self.rotate_probability else 0.0,
      blur=bool(blur < self.blur_probability),
      flip=bool(flip < self.flip_probability),
      top=top,
      left=left,
      vertical_flip=vertical_flip,
      quarter_turns=turns,
    )

  def _vertical_flip_and_turns(self, rng: np.random.Generator) -> tuple[bool, int]:
    if not (self.vertical_flip_probability or self.quarter_turn_probability):
      return False, 0  # without a random number: the others remain what they were
    flip, turned, turns = rng.random(3)
    turns = 1 + int(3 * turns) if turned < self.quarter_turn_probability else 0
    return bool(flip < self.vertical_flip_probability), turns

  def _crop_before_turning(self, turns: int) -> tuple[int, int]:
    height, width = self.crop_size
    return (width, height) if turns % 2 else (height, width)

  def _crop_offset(
    self, canvas: tuple[int, int], turns: int, top: float, left: float
  ) -> tuple[int, int]:
    """Returns a place, uniform over all; `top` and `left` are random numbers in [0, 1)."""
    crop = self._crop_before_turning(turns)
    free = [max(size - side, 0) + 1 for size, side in zip(canvas, crop, strict=True)]
    return int(top * free[0]), int(left * free[1])

  def _with_varied_crop(self, label: np.ndarray, plan: Plan, more: np.ndarray) -> Plan:
    """Takes the first of eleven crops that is not mostly one class, or the last (mmseg)."""
    canvas = plan.height, plan.width
    for top, left in more:
      seen = warp_label(label, plan, *self._seen(plan))
      pixels = cv2.calcHist([seen], [0], None, [IGNORE_LABEL], [0, IGNORE_LABEL])
      if np.count_nonzero(pixels) > 1 and pixels.max() / pixels.sum() < self.cat_max_ratio:
        break
      top, left = self._crop_offset(canvas, plan.quarter_turns, top, left)
      plan = dataclasses.replace(plan, top=top, left=left)
    return plan

  def _seen(self, plan: Plan) -> tuple[range, range]:
    """Returns the rows and columns of the canvas, not yet flipped, that the crop shows."""
    crop = self._crop_before_turning(plan.quarter_turns)
    height, width = min(plan.height, crop[0]), min(plan.width, crop[1])
    top = plan.height - plan.top - height if plan.vertical_flip else plan.top
    left = plan.width - plan.left - width if plan.flip else plan.left
    return range(top, top + height), range(left, left + width)

  def apply(self, example: Example, plan: Plan) -> dict[str, np.ndarray]:
    """Does what was planned.

    Returns:
      image [h, w, 3], of the dtype it came in, and label uint8 [h, w].
    """
    seen = self._seen(plan)
    image = warp_image(example['image'], plan, *seen, colour=self.mean, blur=plan.blur)
    label = warp_label(example['label'], plan, *seen)
    for planned, axis in ((plan.flip, 1), (plan.vertical_flip, 0)):
      if planned:
        image, label = cv2.flip(image, axis), cv2.flip(label, axis)
    if plan.quarter_turns:
      turn = _TURNS[plan.quarter_turns - 1]
      image, label = cv2.rotate(image, turn), cv2.rotate(label, turn)
    if plan.distortion is not None:
      image = plan.distortion.apply(image)
    missing_rows, missing_columns = np.subtract(self.crop_size, label.shape).tolist()
    if missing_rows or missing_columns:
      top, left = (missing_rows // 2, missing_columns // 2) if self.pad_centred else (0, 0)
      bottom, right = missing_rows - top, missing_columns - left
      border = top, bottom, left, right, cv2.BORDER_CONSTANT
      image = cv2.copyMakeBorder(image, *border, value=self.mean)
      label = cv2.copyMakeBorder(label, *border, value=IGNORE_LABEL)
    return {'image': image, 'label': label}
