"""The loss that training minimises: a weighted sum of named terms, or a class of one's own."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import UserError
from pspnet_jax.ops.cells import Cells
from pspnet_jax.ops.images import resize
from pspnet_jax.training import region_losses
from pspnet_jax.training.pixel_losses import (
  denominator,
  focal_losses,
  in_chunks,
  joined,
  pixel_losses,
  pixel_losses_in_cells,
  sum_losses,
)

TERMS = ('cross_entropy', 'dice', 'focal', 'lovasz')


class Loss(Protocol):
  """What the training step asks of a loss; a class of one's own with these two methods will do.

  A batch may be taken in parts and lie on several devices. The parts add up to the loss of the
  whole batch if every value is a sum over the pixels or images of the part, divided by something
  that the labels of the whole batch alone decide (`count_valid` is one of `pixel_losses`):

      class SquaredError:
        def denominators(self, label):
          return jnp.maximum(count_valid(label), 1)

        def __call__(self, logits, label, denominators, *, align_corners=True):
          wanted = jax.nn.one_hot(label, logits.shape[-1])  # zeros for IGNORE_LABEL
          errors = jnp.square(jax.nn.softmax(logits) - wanted).sum(-1)
          return {'loss': jnp.where(label != IGNORE_LABEL, errors, 0).sum() / denominators}

  A loss with an attribute `upsamples` that is true is given logits of the feature map's size, and
  resizes them itself, as `SegmentationLoss` does.
  """

  def denominators(self, label: jax.Array) -> Any:
    """Returns arrays made of the labels [N, H, W] of a whole batch; see `__call__`."""
    ...

  def __call__(
    self, logits: jax.Array, label: jax.Array, denominators: Any, *, align_corners: bool = True
  ) -> dict[str, jax.Array]:
    """Returns scalars by name, of which 'loss' is minimised and the others are reported.

    Args:
      logits: float [N, H, W, C] of a part of the batch; [N, h, w, C] for a loss that `upsamples`.
      label: integer [N, H, W] of this part, class ids and `IGNORE_LABEL`.
      denominators: what `denominators` made of the whole batch.
      align_corners: how the network resizes its logits.
    """
    ...


@dataclasses.dataclass(frozen=True)
class SegmentationLoss:
  """A weighted sum of terms, each a mean over the pixels or images of the whole batch.

  Attributes:
    cross_entropy: weight of the cross-entropy, a mean over pixels; 1 in the paper.
    dice: weight of the Dice loss, a mean over images; see `region_losses.dice`.
    focal: weight of the focal loss, a mean over pixels; see `pixel_losses.focal_losses`.
    lovasz: weight of Lovász-softmax, a mean over images; see `region_losses.lovasz_softmax`.
    class_weights: weights of the classes in the cross-entropy; see `pixel_losses.sum_losses`.
    ohem_threshold, ohem_min_kept: mining of hard pixels in the cross-entropy; see
      `pixel_losses.hard_pixels`.
    focal_gamma: exponent of the focal loss; 2 works best in Lin et al. 2017, 0 is cross-entropy.
    avg_non_ignore: whether cross-entropy and focal loss are means over the valid pixels, as in
      semseg and PaddleSeg; else over all pixels, of which the ignored ones add 0: mmsegmentation's
      default, which calls it so.
    dice_smooth: pixels added to both sides of the Dice fraction; see `region_losses.dice`.
    chunk_rows: rows of logits that are there at a time; 0: all. Saves the memory of the largest
      arrays where there are many classes, and costs time: they are computed twice. Lovász-softmax
      sorts all pixels, so cannot. On accelerators cross-entropy and focal loss never have logits of
      the image's size (`ops.cells`), and only the Dice loss is taken in chunks.

  Logits are those of the feature map, [N, h, w, C].

  Raises:
    UserError: for a weight below 0, weights that are all 0, another number out of range, or
      Lovász-softmax in chunks.
  """

  cross_entropy: float = 1.0
  dice: float = 0.0
  focal: float = 0.0
  lovasz: float = 0.0
  class_weights: tuple[float, ...] = ()
  ohem_threshold: float = 0.7
  ohem_min_kept: int = 0
  focal_gamma: float = 2.0
  avg_non_ignore: bool = True
  dice_smooth: float = 0.0
  chunk_rows: int = 0

  upsamples = True

  def __post_init__(self):
    object.__setattr__(self, 'class_weights', tuple(self.class_weights))

    def need(condition: bool, name: str, remedy: str) -> None:
      if not condition:
        raise UserError(f'config.loss.{name} is {getattr(self, name)!r}: {remedy}.')

    for name in (*TERMS, 'ohem_min_kept', 'focal_gamma', 'dice_smooth', 'chunk_rows'):
      need(0 <= getattr(self, name) < math.inf, name, 'make it 0 or more')
    need(0 <= self.ohem_threshold <= 1, 'ohem_threshold', 'give a number in [0, 1]')
    sound = all(isinstance(w, int | float) and 0 <= w < math.inf for w in self.class_weights)
    remedy = 'give a number of 0 or more for each class, not 0 for all'
    need(sound and (not self.class_weights or any(self.class_weights)), 'class_weights', remedy)
    if not self.weights:
      names = ', '.join(f'config.loss.{name}' for name in TERMS)
      raise UserError(f'nothing is left of the loss: give one of {names} a weight above 0.')
    remedy = 'class_weights are a mean over valid pixels, so leave them out or make it True'
    need(self.avg_non_ignore or not self.class_weights, 'avg_non_ignore', remedy)
    remedy = 'Lovász-softmax needs all pixels at once, so set this or config.loss.lovasz to 0'
    need(not (self.lovasz and self.chunk_rows), 'chunk_rows', remedy)

  def check(self, num_classes: int) -> None:
    """Raises UserError for class weights of another number of classes."""
    if self.class_weights and len(self.class_weights) != num_classes:
      raise UserError(
        f'config.loss.class_weights has {len(self.class_weights)} numbers for {num_classes} '
        'classes: give one each, or none.'
      )

  @property
  def weights(self) -> dict[str, float]:
    """The weights of the terms that count."""
    return {name: getattr(self, name) for name in TERMS if getattr(self, name)}

  def denominators(self, label: jax.Array) -> dict[str, jax.Array]:
    """What the sums of each term are divided by: pixels, weights of pixels, or images."""
    images = functools.partial(region_losses.denominator, label)
    pixels = functools.partial(denominator, label, avg_non_ignore=self.avg_non_ignore)
    known: dict[str, Callable[[], jax.Array]] = {
      'cross_entropy': lambda: pixels(self.class_weights),
      'dice': images,
      'focal': pixels,
      'lovasz': images,
    }
    return {name: known[name]() for name in self.weights}

  def __call__(
    self,
    logits: jax.Array,
    label: jax.Array,
    denominators: Mapping[str, jax.Array],
    *,
    align_corners: bool = True,
  ) -> dict[str, jax.Array]:
    """Returns each term by its name, not yet weighted, and their weighted sum as 'loss'.

    Raises:
      UserError: for class weights of another number than the logits have classes.
    """
    self.check(logits.shape[-1])
    in_cells = functools.partial(self._sums_in_cells, align_corners=align_corners)
    sums = lax.platform_dependent(
      logits,
      label,
      cpu=functools.partial(self._sums, align_corners=align_corners),
      tpu=functools.partial(in_cells, flat=True),
      default=functools.partial(in_cells, flat=False),
    )
    terms = {name: sums[name] / denominators[name] for name in self.weights}
    weights = self.weights
    weighted = [x if weights[name] == 1 else weights[name] * x for name, x in terms.items()]
    return {**terms, 'loss': functools.reduce(jnp.add, weighted)}

  def _sums(self, logits: jax.Array, label: jax.Array, align_corners: bool) -> dict[str, jax.Array]:
    """The sum of each term over the pixels or images of `label`."""
    if self.chunk_rows:
      pixels, overlaps = in_chunks(
        self._measure, logits, label, self.chunk_rows, align_corners=align_corners
      )
      pixels = None if pixels is None else joined(pixels, label.shape[1])
      overlaps = jax.tree.map(lambda x: x.sum(0), overlaps)
    else:
      logits = resize(logits, label.shape[1:], align_corners=align_corners)
      pixels, overlaps = self._measure(logits, label)
    sums: dict[str, Callable[[], jax.Array]] = {
      'dice': lambda: region_losses.dice(*overlaps, smooth=self.dice_smooth).sum(),
      'lovasz': lambda: region_losses.lovasz_softmax(logits, label).sum(),
    }
    regions = {name: sums[name]() for name in self.weights if name in sums}
    return regions if pixels is None else regions | self._sums_of_pixels(pixels, label)

  def _measure(self, logits: jax.Array, label: jax.Array) -> tuple[Any, Any]:
    pixels = pixel_losses(logits, label) if self.cross_entropy or self.focal else None
    return pixels, region_losses.overlaps(logits, label) if self.dice else None

  def _sums_of_pixels(self, losses: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    """Sums over the pixels of each image, in whatever order and shape [N, ., .] they are."""
    sums: dict[str, Callable[[], jax.Array]] = {
      'cross_entropy': lambda: sum_losses(
        losses,
        label,
        class_weights=self.class_weights,
        ohem_threshold=self.ohem_threshold,
        ohem_min_kept=self.ohem_min_kept,
      ),
      'focal': lambda: focal_losses(losses, self.focal_gamma).sum(),
    }
    return {name: sums[name]() for name in self.weights if name in sums}

  def _sums_in_cells(
    self, logits: jax.Array, label: jax.Array, align_corners: bool, flat: bool
  ) -> dict[str, jax.Array]:
    """Does the same for accelerators: sums over pixels need no logits of the image's size there."""
    sums = {}
    if self.dice or self.lovasz:
      regions = dataclasses.replace(self, cross_entropy=0.0, focal=0.0)
      sums = regions._sums(logits, label, align_corners)
    if self.cross_entropy or self.focal:
      cells = Cells.of(logits.shape[1:3], label.shape[1:], align_corners=align_corners)
      arranged = cells.arrange(label, IGNORE_LABEL)  # [N, K, J, P]
      losses = pixel_losses_in_cells(cells, flat, logits, arranged)
      flattened = (x.reshape(len(x), -1, x.shape[-1]) for x in (losses, arranged))
      sums |= self._sums_of_pixels(*flattened)
    return sums
