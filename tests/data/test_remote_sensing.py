"""Names, order and colours are those that the networks of the zoo were trained with."""

import pytest

from pspnet_jax.data.prepared import SPECS
from pspnet_jax.data.remote_sensing import ISAID, ISPRS, LOVEDA
from pspnet_jax.weights.catalogue import entries


@pytest.mark.parametrize(
  ('spec', 'num_classes', 'index', 'name', 'colour'),
  [
    (LOVEDA, 7, 0, 'background', (255, 255, 255)),
    (LOVEDA, 7, 4, 'barren', (159, 129, 183)),
    (LOVEDA, 7, 6, 'agricultural', (255, 195, 128)),
    (ISPRS, 6, 2, 'low_vegetation', (0, 255, 255)),
    (ISPRS, 6, 4, 'car', (255, 255, 0)),
    (ISPRS, 6, 5, 'clutter', (255, 0, 0)),
    (ISAID, 16, 0, 'background', (0, 0, 0)),
    (ISAID, 16, 9, 'Small_Vehicle', (0, 0, 127)),
    (ISAID, 16, 15, 'Harbor', (0, 100, 155)),
  ],
)
def test_names_and_colours(spec, num_classes, index, name, colour):
  assert spec.num_classes == num_classes
  assert (spec.class_names[index], spec.palette[index]) == (name, colour)


def test_every_class_has_a_colour_of_its_own():
  """Labels come in colours, two of which would be one class."""
  for spec in (ISPRS, ISAID):
    assert len(set(spec.palette)) == spec.num_classes
  assert SPECS['potsdam'] is SPECS['vaihingen'] is ISPRS


def test_networks_of_the_zoo_have_as_many_classes_as_the_data_that_they_are_for():
  """As their configs say, `num_classes` of configs/pspnet in mmsegmentation."""
  trained_on = {entry.data for entry in entries().values()}
  for name, count in {'loveda': 7, 'potsdam': 6, 'vaihingen': 6, 'isaid': 16}.items():
    assert name in trained_on
    assert SPECS[name].num_classes == count
