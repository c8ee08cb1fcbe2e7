"""The confusion matrix that a training step keeps of its own predictions, of a sample of pixels."""

from __future__ import annotations

import functools

import jax
from jax import lax

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.evaluation.metrics import Confusion
from pspnet_jax.ops.cells import Cells
from pspnet_jax.ops.images import resize

EVERY = 4  # training's own mIoU looks at every 4th pixel of every 4th row


def confusion_of(
  logits: jax.Array, label: jax.Array, *, align_corners: bool, resized_whole: bool
) -> Confusion:
  """Counts every 4th pixel of every 4th row.

  Args:
    logits: float [N, h, w, C]; resized if they are not of the label's size.
    label: integer [N, H, W].
    align_corners: how to resize.
    resized_whole: whether the loss resizes all of the logits on a CPU, which then is done once.
  """
  logits = lax.stop_gradient(logits)
  if logits.shape[1:3] == label.shape[1:]:
    return _of_sliced(logits, label)
  on_cpu = functools.partial(
    _of_resized, align_corners=align_corners, every=1 if resized_whole else EVERY
  )
  in_cells = functools.partial(_in_cells, align_corners=align_corners)
  return lax.platform_dependent(
    logits,
    label,
    cpu=on_cpu,
    tpu=functools.partial(in_cells, flat=True),
    default=functools.partial(in_cells, flat=False),
  )


def _of_sliced(logits: jax.Array, label: jax.Array) -> Confusion:
  prediction = logits[:, ::EVERY, ::EVERY].argmax(-1)
  return Confusion.count(label[:, ::EVERY, ::EVERY], prediction, logits.shape[-1])


def _of_resized(logits: jax.Array, label: jax.Array, align_corners: bool, every: int) -> Confusion:
  logits = resize(logits, label.shape[1:], align_corners=align_corners, every=every)
  logits = logits[:, :: EVERY // every, :: EVERY // every]
  return Confusion.count(label[:, ::EVERY, ::EVERY], logits.argmax(-1), logits.shape[-1])


def _in_cells(logits: jax.Array, label: jax.Array, align_corners: bool, flat: bool) -> Confusion:
  size = label.shape[1:]
  cells = Cells.of(logits.shape[1:3], size, align_corners=align_corners, every=EVERY)
  at_pixels = cells.interpolated(cells.corners(logits), flat=flat)  # [N, K, J, P, C]
  arranged = cells.arrange(label, IGNORE_LABEL)  # [N, K, J, P]
  return Confusion.count(arranged, at_pixels.argmax(-1), logits.shape[-1])
