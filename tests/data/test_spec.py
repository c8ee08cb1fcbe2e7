"""What class names and colours may be."""

import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError


@pytest.mark.parametrize(
  ('names', 'palette', 'message'),
  [
    ((), (), '0 classes: a uint8 label holds 2 to 255 classes'),
    (('a',), ((0, 0, 0),), "'a' is the only class"),
    (tuple(map(str, range(256))), default_palette(256), '256 classes'),
    (('a', 'b', 'a'), default_palette(3), "class name 'a' is used twice"),
    (('a', 'b'), default_palette(3), '3 palette colours for 2 classes'),
    (('a', 'b'), ((0, 256, 0),) * 2, r"colour \(0, 256, 0\) of class 'a'"),
    (('a', 'b'), ((0, 0),) * 2, r"colour \(0, 0\) of class 'a'"),
  ],
)
def test_what_cannot_be_is_named(names, palette, message):
  with pytest.raises(UserError, match=message):
    DatasetSpec(names, palette)


def test_names_that_look_the_same_are_the_same():
  composed, decomposed = 'Bäume', 'Ba\u0308ume'
  assert DatasetSpec((decomposed, 'sky'), default_palette(2)).class_names == (composed, 'sky')
  with pytest.raises(UserError, match='used twice'):
    DatasetSpec((composed, decomposed), default_palette(2))


def test_255_classes_are_the_most():
  assert DatasetSpec(tuple(map(str, range(255))), default_palette(255)).num_classes == 255
