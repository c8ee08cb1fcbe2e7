import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.evaluation.metrics import Confusion
from pspnet_jax.ops.images import resize
from pspnet_jax.training import sampled


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('size', [(33, 50), (9, 9), (3, 4)])
def test_all_forms_count_every_fourth_pixel_of_every_fourth_row(size, align_corners, x64):
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(2, 5, 7, 4)))
  label = rng.integers(0, 4, (2, *size)).astype(np.uint8)
  label[rng.random(label.shape) < 0.2] = 255
  at_pixels = resize(logits, size, align_corners=align_corners)
  prediction = np.asarray(at_pixels.argmax(-1))[:, ::4, ::4]
  wanted = Confusion.count(jnp.asarray(label[:, ::4, ::4]), prediction, 4).compute()
  assert wanted.sum() == (label[:, ::4, ::4] != 255).sum()
  found = [sampled._in_cells(logits, label, align_corners, flat) for flat in (True, False)]
  found += [
    sampled.confusion_of(logits, label, align_corners=align_corners, resized_whole=whole)
    for whole in (True, False)
  ]
  found.append(
    sampled.confusion_of(at_pixels, label, align_corners=align_corners, resized_whole=False)
  )
  for counted in found:
    np.testing.assert_array_equal(counted.compute(), wanted)


def test_a_loss_and_its_confusion_resize_once_on_a_cpu():
  """XLA finds that both are the same."""

  def both(logits):
    at_pixels = resize(logits, (33, 50), align_corners=True)
    counted = sampled.confusion_of(logits, label, align_corners=True, resized_whole=True)
    return at_pixels.sum(), counted

  label = jnp.zeros((2, 33, 50), jnp.uint8)
  text = jax.jit(both).lower(jnp.zeros((2, 5, 7, 4))).compile().as_text()
  assert text.count('f32[2,33,50,4]') and text.count(' dot(') <= 2, text
