"""Nothing that comes from elsewhere is anything but text, and nothing is for the eye alone."""

import re

import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.web import markup, results
from pspnet_jax.web.results import Labeller

HOSTILE = '<img src=x onerror="alert(1)">${alert(2)}{{value}}`'
SPEC = DatasetSpec(('sky', HOSTILE, 'car'), default_palette(3))


def stripes(image):
  ids = np.zeros(image.shape[:2], np.uint8)
  ids[:, :4], ids[0, 0] = 1, 255
  return ids, np.full(ids.shape, 0.25, np.float32)


def labelled(*names):
  image = np.zeros((10, 10, 3), np.uint8)
  return results.label(f'{HOSTILE}.jpg', image, [Labeller(x, stripes) for x in names], SPEC)


def all_of_it(of):
  drawn = [b''] * len(of.answers)
  shown = [markup.pictures(of, drawn, SPEC, is_confidence=x) for x in (False, True)]
  texts = [markup.heading(HOSTILE, [HOSTILE]), markup.said(HOSTILE), markup.legend(of, SPEC)]
  return ''.join([*shown, *texts, markup.examples([HOSTILE], [b''])])


def test_text_from_elsewhere_is_neither_markup_nor_a_template():
  shown = all_of_it(labelled(HOSTILE, 'b\x1b\u202e'))
  assert '<img src=x' not in shown and 'onerror="' not in shown
  assert not re.search(r'[$`{}\x1b\u202e\\]', shown)


def test_every_picture_says_in_words_what_it_shows():
  of = labelled('a', 'b')
  shown = markup.pictures(of, [b'', b''], SPEC, is_confidence=False)
  assert shown.count(' by a: sky 60.0%, ') == 1 and shown.count(' by b: sky 60.0%, ') == 1
  pictures = re.findall('<img [^>]*>', all_of_it(of))
  assert len(pictures) == 5 and all('alt="' in x for x in pictures)


def test_the_legend_lists_what_occurs_the_largest_first():
  shown = markup.legend(labelled('a'), SPEC)
  assert re.findall(r'data-class="(\d+)"', shown) == ['0', '1', '255']
  assert re.findall('<td>([^<]*)</td>', shown) == ['60.0%', '39.0%', '1.0%']
  assert '<thead>' not in shown and 'download="' in shown
  both = markup.legend(labelled('a', 'b'), SPEC)
  assert both.count('<th scope="col">') == 3 and both.count('class="download"') == 2


@pytest.mark.parametrize(
  ('share', 'text'), [(0, '0.0%'), (0.0004, '<0.1%'), (0.0006, '0.1%'), (1, '100.0%')]
)
def test_small_areas_are_not_nothing(share, text):
  assert markup.percent(share) == text
