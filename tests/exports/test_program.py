"""The exported function is the predictor's on whole images, and says what it is."""

import json

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.predictor import Predictor
from tests.exports.programs import images, program, reference

pytestmark = pytest.mark.usefixtures('one_device')


def test_it_is_the_predictor_on_a_whole_image():
  made = program(align_corners=False, bins=(1, 2))
  [image] = images(made.size, 1)
  live = made.live()(image[None])
  predictor = Predictor(made.card, made.params, made.batch_stats)  # a window of that size
  np.testing.assert_allclose(live['probabilities'][0], predictor.probabilities(image), atol=1e-5)
  np.testing.assert_array_equal(live['labels'][0], predictor(image))
  expected = reference(made)(image[None])
  np.testing.assert_allclose(live['probabilities'], expected['probabilities'], atol=2e-5)


def test_what_it_says_of_itself():
  made = program(size=None, probabilities=True)
  told = json.loads(made.described())
  assert told['size'] == 'any' and told['trained_at'] == [41, 57]
  assert told['probabilities'] == 'float32 [batch, height, width, 5]'
  assert str(made).startswith('PSPNet-10 of step 7: image uint8 [batch, height, width, 3] → labels')
  assert 'windows, scales and mirror images of an evaluation are not in it' in str(made)
  assert 'probabilities' not in json.loads(program(probabilities=False).described())


@pytest.mark.parametrize(
  ('size', 'says'),
  [
    ((7, 41), r'^--size=7,41: a side is less than the 8 pixels of .* was trained at 41,57\.$'),
    ((20_000, 20_000), r'^--size=20000,20000 has 400,000,000 pixels, and 200,000,000 is the limit'),
  ],
)
def test_a_size_that_cannot_be_is_refused(size, says):
  with pytest.raises(UserError, match=says):
    program(size)
