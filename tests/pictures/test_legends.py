"""Legends list what they are given, in room that is never exceeded."""

import numpy as np
from PIL import ImageFont

from pspnet_jax.pictures import legends
from pspnet_jax.pictures.legends import INK, PAPER, LegendEntry, headings, line, shorten, text_size
from tests import hostile


def entries(count, name='class {}'):
  return [LegendEntry(name.format(i), '', (200, i, 3 * i % 256)) for i in range(count)]


def drawn(picture, colour):
  """Whether a swatch of the colour is in the picture."""
  return bool((picture == colour).all(-1).sum() > 50)


def test_every_entry_has_its_swatch_where_there_is_room():
  listed = entries(12)
  picture = legends.draw(listed, (400, 600), size=13)
  assert picture.shape[1] == 600 and picture.dtype == np.uint8
  assert all(drawn(picture, entry.colour) for entry in listed)


def test_what_does_not_fit_is_counted_and_the_first_are_shown():
  listed = entries(200, 'a class with a rather long name {}')
  picture = legends.draw(listed, (160, 400), size=13)
  shown = [drawn(picture, entry.colour) for entry in listed]
  assert shown[0] and not shown[-1] and picture.shape[0] < 300
  assert sorted(shown, reverse=True) == shown


def test_no_entries_make_an_empty_legend():
  assert (legends.draw([], (100, 100), size=13) == PAPER).all()


def test_long_names_end_in_dots_and_short_ones_stay():
  font = ImageFont.load_default(13)
  assert shorten('road', font, 100) == 'road'
  short = shorten('a very long name; and its synonyms', font, 100)
  assert short.endswith('...') and font.getlength(short) <= 100
  assert 'a very long name; and its synonyms'.startswith(short[:-3])


def test_headings_stand_over_the_middle_of_their_cells():
  picture = headings(['one', 'two'], cell_width=100, gap=20, size=13)
  assert picture.shape == (26, 220, 3)
  inked = np.flatnonzero((picture != PAPER).any((0, 2)))
  for cell in (0, 120):
    inside = inked[(inked >= cell) & (inked < cell + 100)]
    assert abs((inside.min() + inside.max()) / 2 - (cell + 50)) < 3
  assert not ((inked >= 100) & (inked < 120)).any()


def test_a_line_begins_at_the_left_and_never_touches_the_right():
  picture = line('word ' * 100, width=150, size=13)
  inked = np.flatnonzero((picture != PAPER).any((0, 2)))
  assert inked.min() < 13 and inked.max() < 150 - 1 and (picture.min((0, 1)) <= INK).all()


def test_text_grows_with_the_picture_within_reason():
  sizes = [text_size(width) for width in (100, 900, 1920, 10_000)]
  assert sizes == [13, 20, 36, 133]


def test_any_name_is_drawn_in_one_line():
  font = ImageFont.load_default(13)
  assert shorten('a\nb', font, 100) == r'a\nb'
  listed = [LegendEntry(name, '', (200, 0, 0)) for name in (*hostile.CLASSES, 'x' * 1_000_000, '')]
  assert legends.draw(listed, (400, 600), size=13).shape[1] == 600
  assert line('\n'.join(hostile.CLASSES), 150, 13).shape[1] == 150
  assert headings(hostile.CLASSES[:2], 100, 20, 13).shape[1] == 220
