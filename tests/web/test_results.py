"""What is kept of an answer: a picture's worth, and the label as it is."""

import io

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.web import results
from pspnet_jax.web.results import Labeller

SPEC = DatasetSpec(('sky', 'road', 'car'), default_palette(3))


def halves(image):
  """Calls the left half sky and the right one car, and is surer of the left."""
  ids = np.zeros(image.shape[:2], np.uint8)
  ids[:, ids.shape[1] // 2 :] = 2
  return ids, np.where(ids == 0, 0.9, 0.5).astype(np.float32)


def all_sky(image):
  return np.zeros(image.shape[:2], np.uint8), np.full(image.shape[:2], 0.4, np.float32)


def labelled(size, *runs):
  image = np.full((*size, 3), 100, np.uint8)
  named = [Labeller(run.__name__, run) for run in runs]
  return results.label('a.jpg', image, named, SPEC)


@pytest.mark.parametrize(
  ('size', 'shown'), [((1000, 4000), (320, 1280)), ((300, 400), (900, 1200)), ((900, 7), (900, 7))]
)
def test_a_picture_fits_the_page_and_the_label_keeps_its_size(size, shown):
  of = labelled(size, halves)
  [answer] = of.answers
  assert of.size == size and of.picture.shape == (*shown, 3)
  assert answer.label.shape == answer.confidence.shape == shown
  label = np.asarray(Image.open(io.BytesIO(answer.png)))
  np.testing.assert_array_equal(label, halves(np.empty((*size, 3)))[0])


def test_areas_and_confidence_are_those_of_all_pixels():
  of = labelled((10, 3000), halves, all_sky)
  first, second = of.answers
  assert (first.share(0), first.share(1), first.share(2)) == (0.5, 0, 0.5)
  assert second.share(0) == 1 and second.mean_confidence == pytest.approx(0.4)
  assert first.mean_confidence == pytest.approx(0.7)
  assert of.agreement == 0.5 and of.classes == [0, 2]
  assert labelled((4, 4), halves).agreement is None


def test_opacity_goes_from_the_image_to_the_colours():
  of = labelled((40, 40), halves)
  image, colours = (
    results.overlay(of, of.answers[0], SPEC, opacity=x, highlight=None) for x in (0.0, 1.0)
  )
  np.testing.assert_array_equal(image, of.picture)
  assert colours[0, 0].tolist() == [*SPEC.palette[0]]
  assert colours[0, -1].tolist() == [*SPEC.palette[2]]


def test_a_class_that_is_highlighted_stands_alone():
  of = labelled((40, 40), halves)
  colours = results.overlay(of, of.answers[0], SPEC, opacity=1.0, highlight=2)
  assert colours[0, 0].tolist() == [100, 100, 100] and colours[0, -1].tolist() == [*SPEC.palette[2]]
  confidence = results.confidence_map(of.answers[0], highlight=2)
  blue, grey = confidence[0, 0], confidence[0, -1]
  assert len({*blue.tolist()}) == 3 and grey.tolist() == [128] * 3
  assert results.confidence_map(of.answers[0], highlight=None)[0, 0].tolist() == [230] * 3


def test_a_picture_stands_in_the_page_itself():
  content = results.as_jpeg(np.full((8, 8, 3), 77, np.uint8))
  assert results.as_data_url(content, 'image/jpeg').startswith('data:image/jpeg;base64,/9j/')
