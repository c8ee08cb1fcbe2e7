"""Settings read off signatures."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pspnet_jax.config.signatures import defaults_of, parameters_of

if TYPE_CHECKING:
  from pspnet_jax.nowhere import Unknown


class Base:
  def __init__(self, size, *, depth=50, width=64, rngs, **options):
    pass


class Middle(Base):
  """Hands its options on, and has no constructor."""


class Net(Middle):
  def __init__(self, size, *, rates=(1, 2), width=32, rngs, **options):
    super().__init__(size, width=width, rngs=rngs, **options)


class Closed(Net):
  def __init__(self, size, *, only=1, rngs):
    super().__init__(size, rngs=rngs)


def test_options_that_are_handed_on_are_those_of_the_base_class_too():
  assert parameters_of(Net).keys() == {'size', 'rates', 'width', 'rngs', 'depth'}
  assert defaults_of(Net).to_dict() == {'rates': (1, 2), 'width': 32, 'depth': 50}
  assert defaults_of(Middle).to_dict() == {'depth': 50, 'width': 64}


def test_without_options_the_base_class_is_not_asked():
  assert defaults_of(Closed).to_dict() == {'only': 1}


def test_of_several_the_first_says_the_default():
  def beside(*, width=1, dtype='float32', size=None):
    pass

  assert defaults_of(beside, Net, without=('size', 'depth')).to_dict() == {
    'width': 1,
    'dtype': 'float32',
    'rates': (1, 2),
  }


def test_functions_dataclasses_and_partials_have_parameters():
  @dataclasses.dataclass
  class Options:
    low: float
    high: float = 1.0

  def make(params, schedule, *args, momentum=0.9, **more):
    pass

  assert defaults_of(Options).to_dict() == {'high': 1.0}
  assert parameters_of(make).keys() == {'params', 'schedule', 'momentum'}
  assert defaults_of(functools.partial(make, 1)).to_dict() == {'momentum': 0.9}


def annotated(
  whole: int | None = None,
  number: 'float | None' = None,
  text: str | None = None,
  switch: bool | None = None,
  sizes: Sequence[int] | None = None,
  pair: tuple[int, int] | None = None,
  several: int | str | None = None,
  bare=None,
):
  """Parameters that are None until they are set."""


@pytest.mark.parametrize(
  ('name', 'fits', 'not_fit'),
  [
    ('whole', 3, 'a'),
    ('number', 0.5, 'a'),
    ('text', 'a', 3),
    ('switch', True, 'a'),
    ('sizes', (1, 2), 'a'),
    ('pair', (1, 2), 'a'),
    ('several', 'a', None),
    ('bare', object(), None),
  ],
)
def test_none_is_a_field_of_the_annotated_type(name, fits, not_fit):
  config = defaults_of(annotated)
  assert config[name] is None
  config[name] = fits
  assert config[name] == fits
  if not_fit is not None:
    with pytest.raises(TypeError):
      config[name] = not_fit


def test_annotations_that_only_a_type_checker_knows_are_left_alone():
  def function(a: 'Unknown', b: 'Unknown | None' = None, c: int = 3):
    pass

  config = defaults_of(function)
  assert config.to_dict() == {'b': None, 'c': 3}
  config.b = 'anything'


def test_defaults_that_no_file_could_hold_stay_in_the_signature():
  def function(act=max, nested=(1, (max,)), listed=[1, 2], table={'a': (1,)}, dtype=int):  # noqa: B006
    pass

  config = defaults_of(function)
  assert config.to_dict() == {'listed': (1, 2), 'table': {'a': (1,)}}
  json.dumps(config.to_dict())
