"""Cross-entropy over the pixels that carry a class."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pspnet_jax.data.spec import IGNORE_LABEL


def count_valid(label: jax.Array) -> jax.Array:
  """How many pixels of a label are not ignored: float32 scalar."""
  return (label != IGNORE_LABEL).sum(dtype=jnp.float32)


def cross_entropy_sum(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Sum of -log softmax(logits)[label] over the pixels that are not ignored.

  Log-sum-exp and a gather: no one-hot of the label and no array of log-probabilities, which at 150
  classes would be the largest arrays of a training step.

  Args:
    logits: float [N, H, W, C].
    label: integer [N, H, W], class ids below C and `IGNORE_LABEL`. An id between would be gathered
      from the last class; data sources refuse such labels.

  Returns:
    A scalar of the dtype of `logits`.
  """
  valid = label != IGNORE_LABEL
  index = jnp.where(valid, label, 0).astype(jnp.int32)
  picked = jnp.take_along_axis(logits, index[..., None], axis=-1, mode='clip')[..., 0]  # [N, H, W]
  return jnp.where(valid, jax.nn.logsumexp(logits, axis=-1) - picked, 0).sum()


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Mean over the valid pixels of the whole batch, as torch's ignore_index; 0 when there are none.

  semseg averages so; mmsegmentation divides by all pixels, ignored ones included.
  """
  return cross_entropy_sum(logits, label) / jnp.maximum(count_valid(label), 1)
