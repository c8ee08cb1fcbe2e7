"""Losses of regions: how well a predicted class and its label overlap, image by image.

The classes that an image shows count alike, however few pixels they have. Those it does not show
do not count by themselves, but the probability they are given is missing from the others. Image by
image, a loss does not depend on how a batch is spread over devices and parts.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pspnet_jax.data.spec import IGNORE_LABEL


def denominator(label: jax.Array) -> jax.Array:
  """Counts the images of a label [N, H, W] with a valid pixel: float32 scalar, at least 1."""
  valid = (label != IGNORE_LABEL).any((1, 2))
  return jnp.maximum(valid.sum(dtype=jnp.float32), 1)


@jax.checkpoint
def overlaps(logits: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Sums over the valid pixels of each image, of which `dice` is made; chunks of rows add up.

  Args:
    logits: float [N, H, W, C].
    label: integer [N, H, W].

  Returns:
    Three arrays [N, C], float32 or wider: probabilities of a class on its own pixels, squared
    probabilities on all pixels, and pixels of the class.
  """
  probabilities, own, valid = _probabilities(logits, label)
  shared = jnp.where(own, probabilities, 0).sum((1, 2))
  squares = jnp.where(valid, jnp.square(probabilities), 0).sum((1, 2))
  return shared, squares, own.sum((1, 2), dtype=probabilities.dtype)


def dice(
  shared: jax.Array, squares: jax.Array, pixels: jax.Array, *, smooth: float = 0.0
) -> jax.Array:
  """Dice loss of each image: the mean of 1 - 2 sum(p g) / (sum(p^2) + sum(g^2)) over its classes.

  This is V-Net's form (Milletari et al. 2016, section 3, with squares in the denominator), of each
  class in turn: p is its probability, g is 1 on its pixels and 0 on others.

  Args:
    shared, squares, pixels: of `overlaps`.
    smooth: added above and below the fraction, in pixels, so that classes of fewer pixels than
      this pull less. V-Net has 0; nothing is divided by 0, since only classes with pixels count.

  Returns:
    [N], from 0 to 1; 0 for an image without a valid pixel.
  """
  present = pixels > 0
  fraction = (2 * shared + smooth) / jnp.where(present, squares + pixels + smooth, 1)
  return _mean_of_present(1 - fraction, present)


def lovasz_softmax(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Lovász-softmax of each image (Berman et al. 2018, section 3): a surrogate of 1 - mIoU.

  For each class of the image, the pixels' errors |g - p| enter the Lovász extension of its Jaccard
  loss: sorted in falling order, each is multiplied by what the Jaccard loss grows by when its pixel
  joins those that are wrong. Where all pixels are sure it is 1 - IoU itself.

  Args:
    logits: float [N, H, W, C].
    label: integer [N, H, W].

  Returns:
    [N], from 0 to 1; 0 for an image without a valid pixel.
  """
  classes = logits.shape[-1]
  flat = (logits.shape[0], -1)
  probabilities, own, valid = _probabilities(logits, label)
  probabilities = probabilities.reshape(*flat, classes)  # [N, H W, C]
  own, valid = own.reshape(*flat, classes), valid.reshape(*flat, 1)
  errors = jnp.where(own, 1 - probabilities, probabilities)
  # -1: the ignored pixels come last, where they move no other pixel's growth.
  ranked = jax.lax.stop_gradient(jnp.where(valid, errors, -1))
  label = label.reshape(flat)

  # One class at a time: sorting takes several arrays, and most classes are in no image.
  def of_class(index: jax.Array) -> jax.Array:
    own = label == index
    column = jax.lax.dynamic_index_in_dim(ranked, index, -1, keepdims=False)
    return jax.lax.cond(own.any(), _growth, lambda errors, _: jnp.zeros_like(errors), column, own)

  growth = jnp.moveaxis(jax.lax.map(of_class, jnp.arange(classes)), 0, -1)  # [N, H W, C]
  losses = jnp.where(valid, errors * growth, 0).sum(1)  # [N, C]
  return _mean_of_present(losses, own.any(1))


def _growth(errors: jax.Array, own: jax.Array) -> jax.Array:
  """How much the Jaccard loss grows by each pixel, in falling order of `errors`; all [N, H W].

  With G pixels of the class, of which F are wrong so far, and B wrong ones of other classes, the
  loss is 1 - (G - F) / (G + B). Its growth is written out: differences of numbers close to 1 would
  leave float32 two digits in an image of a million pixels.
  """
  places = jax.lax.broadcasted_iota(jnp.int32, errors.shape, 1)
  _, places, own = jax.lax.sort((-errors, places, own), dimension=1, num_keys=1)
  found = jnp.cumsum(own, 1, dtype=jnp.int32)
  total = found[:, -1:]
  union = jnp.maximum(total + jnp.cumsum(~own, 1, dtype=jnp.int32), 1).astype(errors.dtype)
  missing = (total - found).astype(errors.dtype)
  growth = jnp.where(own, 1 / union, missing / (jnp.maximum(union - 1, 1) * union))
  put = jax.vmap(lambda at, x: jnp.zeros_like(x).at[at].set(x, unique_indices=True))
  return put(places, growth)


def _probabilities(logits: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Softmax and the pixels of each class, [N, H, W, C], and the valid pixels, [N, H, W, 1]."""
  valid = (label != IGNORE_LABEL)[..., None]
  wide = jnp.promote_types(logits.dtype, jnp.float32)
  probabilities = jax.nn.softmax(jnp.where(valid, logits, 0).astype(wide), axis=-1)
  own = valid & (label[..., None] == jnp.arange(logits.shape[-1]))
  return probabilities, own, valid


def _mean_of_present(losses: jax.Array, present: jax.Array) -> jax.Array:
  """The mean of losses [N, C] over the classes of each image; 0 if it has none."""
  return jnp.where(present, losses, 0).sum(1) / jnp.maximum(present.sum(1), 1)
