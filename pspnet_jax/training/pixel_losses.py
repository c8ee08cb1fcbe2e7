"""Losses of the pixels that carry a class: cross-entropy, weighted and mined, and focal."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.ops.cells import Cells
from pspnet_jax.ops.images import bilinear_matrix, resize, times_rows


def count_valid(label: jax.Array) -> jax.Array:
  """Counts the pixels of a label that are not ignored: float32 scalar."""
  return (label != IGNORE_LABEL).sum(dtype=jnp.float32)


def denominator(
  label: jax.Array, class_weights: Sequence[float] = (), *, avg_non_ignore: bool = True
) -> jax.Array:
  """Returns what a sum over pixels is divided by: valid pixels, or their weights; never 0.

  A function of the labels alone, so that it can be known of a whole batch before any part of it
  has gone through the network. Without `avg_non_ignore` it is all pixels, whatever the label.
  """
  if not avg_non_ignore:
    return jnp.float32(label.size)
  if not class_weights:
    return jnp.maximum(count_valid(label), 1)
  total = _weights(label, class_weights, jnp.result_type(float)).sum()
  return jnp.where(total > 0, total, 1)


def pixel_losses(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Computes -log softmax(logits)[label] of every pixel, 0 where it is ignored.

  Log-sum-exp and a choice: no one-hot of the label and no array of log-probabilities, which at 150
  classes would be the largest arrays of a training step.

  Args:
    logits: float [N, H, W, C].
    label: integer [N, H, W], class ids below C and `IGNORE_LABEL`. An id between would be taken for
      the last class on a CPU and for a logit of 0 elsewhere; data sources refuse such labels.

  Returns:
    [N, H, W] of the dtype of `logits`.
  """
  valid = label != IGNORE_LABEL
  picked = lax.platform_dependent(
    logits, label, cpu=gathered_logit, default=picked_logit
  )  # [N, H, W]
  return jnp.where(valid, jax.nn.logsumexp(logits, axis=-1) - picked, 0)


def gathered_logit(logits: jax.Array, label: jax.Array) -> jax.Array:
  """The logit of each pixel's label, by a gather: fastest on a CPU."""
  index = jnp.where(label != IGNORE_LABEL, label, 0).astype(jnp.int32)
  return jnp.take_along_axis(logits, index[..., None], axis=-1, mode='clip')[..., 0]


def picked_logit(logits: jax.Array, label: jax.Array) -> jax.Array:
  """The logit of each pixel's label, by a sum over the classes; 0 where it is ignored.

  The gradient of a gather is a scatter into zeros of the size of the logits, which accelerators are
  slow in (six times on a TPU, pytorch/xla issue 1850).
  """
  return jnp.where(_is_own(label, logits.shape[-1]), logits, 0).sum(-1)


def _is_own(label: jax.Array, classes: int) -> jax.Array:
  return label[..., None] == jnp.arange(classes, dtype=label.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def pixel_losses_in_cells(
  cells: Cells, flat: bool, logits: jax.Array, label: jax.Array
) -> jax.Array:
  """Returns `pixel_losses` of upsampled logits that are never written, in the cells' order.

  Each pass over the pixels interpolates the logits anew: one finds the maximum, one sums the
  exponentials, one the gradient. XLA would compute them once and write them, were it not told that
  they are not the same.

  Args:
    cells: those between the logits and the image.
    flat: see `Cells.interpolated`.
    logits: float [N, h, w, C].
    label: integer [N, K, J, P], as `Cells.arrange` gives it.

  Returns:
    [N, K, J, P] of the dtype of `logits`.
  """
  return _losses_and_residuals(cells, flat, logits, label)[0]


def _losses_and_residuals(cells: Cells, flat: bool, logits: jax.Array, label: jax.Array) -> Any:
  corners = cells.corners(logits)
  largest = cells.interpolated(corners, flat=flat).max(-1)
  corners, largest = lax.optimization_barrier((corners, largest))
  at_pixels = cells.interpolated(corners, flat=flat)
  normalizer = jnp.log(jnp.exp(at_pixels - largest[..., None]).sum(-1)) + largest
  losses = jnp.where(label != IGNORE_LABEL, normalizer - picked_logit(at_pixels, label), 0)
  return losses, (logits, label, normalizer)


def _gradient_in_cells(cells: Cells, flat: bool, residuals: Any, g: jax.Array) -> Any:
  logits, label, normalizer = residuals
  g = jnp.where(label != IGNORE_LABEL, g, 0)
  logits, normalizer, g = lax.optimization_barrier((logits, normalizer, g))
  at_pixels, to_logits = jax.vjp(
    lambda logits: cells.interpolated(cells.corners(logits), flat=flat), logits
  )
  own = _is_own(label, logits.shape[-1])
  [gradient] = to_logits(g[..., None] * (jnp.exp(at_pixels - normalizer[..., None]) - own))
  return gradient, None


pixel_losses_in_cells.defvjp(_losses_and_residuals, _gradient_in_cells)


def pixel_losses_of_upsampled(
  logits: jax.Array, label: jax.Array, rows: int, *, align_corners: bool
) -> jax.Array:
  """Returns `pixel_losses` of logits [N, h, w, C] resized to a label's size, by chunks of rows."""
  losses = in_chunks(pixel_losses, logits, label, rows, align_corners=align_corners)
  return joined(losses, label.shape[1])


def in_chunks(
  function: Callable[[jax.Array, jax.Array], Any],
  logits: jax.Array,
  label: jax.Array,
  rows: int,
  *,
  align_corners: bool,
) -> Any:
  """Calls a function of logits and labels with `rows` rows at a time, in a loop.

  The logits of all pixels are never there at once, nor for the gradient, which computes them again.

  Args:
    function: takes logits [N, rows, W, C] and a label [N, rows, W]; what is missing from the last
      chunk is `IGNORE_LABEL`.
    logits: float [N, h, w, C], which are resized to the label's size.
    label: integer [N, H, W].
    rows: how many rows of the label make a chunk.
    align_corners: how to resize.

  Returns:
    The results of the chunks, stacked along a first axis.
  """
  height, width = label.shape[1:]
  x = resize(logits, (logits.shape[1], width), align_corners=align_corners)  # [N, h, W, C]
  count = -(-height // rows)
  padding = count * rows - height  # rows of ignored pixels
  matrix = bilinear_matrix(x.shape[1], height, align_corners).astype(x.dtype)
  matrix = np.pad(matrix, ((0, padding), (0, 0))).reshape(count, rows, -1)
  padded = jnp.pad(label, ((0, 0), (0, padding), (0, 0)), constant_values=IGNORE_LABEL)
  labels = padded.reshape(-1, count, rows, width).swapaxes(0, 1)  # [count, N, rows, W]

  @jax.checkpoint
  def chunk(x: jax.Array, matrix: jax.Array, label: jax.Array) -> Any:
    return function(times_rows(matrix, x), label)

  return jax.lax.map(lambda inputs: chunk(x, *inputs), (jnp.asarray(matrix), labels))


def joined(chunks: jax.Array, height: int) -> jax.Array:
  """Lays chunks [count, N, rows, W] below each other and drops the rows past `height`."""
  count, images, rows, width = chunks.shape
  return chunks.swapaxes(0, 1).reshape(images, count * rows, width)[:, :height]


def focal_losses(loss: jax.Array, gamma: float) -> jax.Array:
  """Focal losses (1 - p)^gamma * -log p of pixels (Lin et al. 2017, equation 4; no alpha).

  Args:
    loss: -log p, as `pixel_losses` returns it; 0 where a pixel is ignored, which stays 0.
    gamma: 0 or more; how much less a pixel counts that is already right.
  """
  miss = -jnp.expm1(-loss)  # 1 - p, exact where p is almost 1
  # There the power may have no finite derivative; the loss has one, 0.
  sure = miss < jnp.finfo(loss.dtype).tiny
  return jnp.where(sure, 0, jnp.where(sure, 1, miss) ** gamma * loss)


def sum_losses(
  loss: jax.Array,
  label: jax.Array,
  *,
  class_weights: Sequence[float] = (),
  ohem_threshold: float = 0.7,
  ohem_min_kept: int = 0,
) -> jax.Array:
  """Sums the losses [N, H, W] of the pixels of `label`, weighted and mined if asked for.

  Args:
    loss: what `pixel_losses` returns.
    label: integer [N, H, W].
    class_weights: how much a pixel of each class counts; none: 1 for all. Divided by `denominator`
      this is the mean of torch's `CrossEntropyLoss(weight)`: sum(w_i l_i) / sum(w_i).
    ohem_threshold: see `hard_pixels`.
    ohem_min_kept: see `hard_pixels`; 0 takes every pixel.

  Returns:
    A scalar of the dtype of `loss`.
  """
  if ohem_min_kept:
    valid = label != IGNORE_LABEL
    loss = jnp.where(hard_pixels(loss, valid, ohem_threshold, ohem_min_kept), loss, 0)
  if class_weights:
    loss = loss * _weights(label, class_weights, loss.dtype)
  return loss.sum()


def hard_pixels(loss: jax.Array, valid: jax.Array, threshold: float, min_kept: int) -> jax.Array:
  """Online hard example mining (Shrivastava et al. 2016), as mmsegmentation's OHEMPixelSampler.

  It takes the valid pixels whose class has a probability below `threshold`, and at least the
  `min_kept` hardest of each image (those of equal loss with the last of them too; all, if an image
  has fewer valid ones). mmsegmentation pools that quota over the images of one GPU; image by image
  the choice does not depend on how a batch is spread over devices and parts. Like there, the sum
  over the pixels taken is divided by all valid pixels, not by those taken.

  Args:
    loss: [N, H, W], -log of the probability of the class.
    valid: bool [N, H, W].
    threshold: 0 to 1; at 0 the quota alone decides.
    min_kept: how many pixels of an image, 1 or more.

  Returns:
    bool [N, H, W], without a gradient.
  """
  pixels = loss.shape[1] * loss.shape[2]
  losses = jax.lax.stop_gradient(jnp.where(valid, loss, -jnp.inf))
  ascending = jnp.sort(losses.reshape(-1, pixels), axis=-1)  # [N, H W]
  quota = ascending[:, pixels - min(min_kept, pixels), None, None]  # [N, 1, 1]
  limit = -math.log(threshold) if threshold else math.inf
  return valid & ((losses > limit) | (losses >= quota))


def cross_entropy(
  logits: jax.Array, label: jax.Array, class_weights: Sequence[float] = ()
) -> jax.Array:
  """Averages over the valid pixels of the whole batch, as torch's ignore_index; 0 without any.

  semseg averages so; mmsegmentation divides by all pixels, ignored ones included.
  """
  total = sum_losses(pixel_losses(logits, label), label, class_weights=class_weights)
  return total / denominator(label, class_weights)


def _weights(label: jax.Array, class_weights: Sequence[float], dtype: jnp.dtype) -> jax.Array:
  """Returns the weight of each pixel [N, H, W]; 0 where it is ignored."""
  weights = jnp.asarray(class_weights, dtype)

  def gathered(label: jax.Array) -> jax.Array:
    valid = label != IGNORE_LABEL
    index = jnp.where(valid, label, 0).astype(jnp.int32)
    return jnp.where(valid, weights.at[index].get(mode='clip'), 0)

  def picked(label: jax.Array) -> jax.Array:
    return jnp.where(_is_own(label, len(class_weights)), weights, 0).sum(-1)

  return lax.platform_dependent(label, cpu=gathered, default=picked)
