"""Options of data sources are of the types that the signatures say."""

from pathlib import Path

import numpy as np
import pytest

from pspnet_jax.data.options import annotations_of, checked
from pspnet_jax.data.sources import SOURCES
from pspnet_jax.errors import UserError


def test_every_source_says_the_types_of_its_options():
  for name, opener in SOURCES.items():
    assert 'split' in annotations_of(opener), name


@pytest.mark.parametrize(
  'option, value, found',
  [
    ('ignore_ids', 0, (0,)),
    ('ignore_ids', [0, 11], (0, 11)),
    ('ignore_ids', np.uint8([0, 11]), (0, 11)),
    ('ignore_ids', [[0, 0, 0]], ((0, 0, 0),)),
    ('label_ids', [7, [8, 11]], (7, (8, 11))),
    ('label_ids', None, None),
    ('label_offset', np.int64(1), 1),
    ('class_names', ['sky', 'road'], ('sky', 'road')),
    ('palette', np.uint8([[1, 2, 3], [4, 5, 6]]), ((1, 2, 3), (4, 5, 6))),
    ('palette', [[[1, 2, 3], [4, 5, 6]], [7, 8, 9]], (((1, 2, 3), (4, 5, 6)), (7, 8, 9))),
    ('root', Path('data'), Path('data')),
    ('labels', 'colours', 'colours'),
  ],
)
def test_what_fits_is_passed_on(option, value, found):
  assert checked(SOURCES['folder'], {option: value}) == {option: found}


@pytest.mark.parametrize(
  'option, value, named',
  [
    ('ignore_ids', '0,1', 'whole numbers'),
    ('ignore_ids', (0.5,), 'whole numbers'),
    ('ignore_ids', (True,), 'whole numbers'),
    ('label_ids', '2', 'whole numbers'),
    ('label_offset', '1', 'a whole number'),
    ('label_offset', 1.0, 'a whole number'),
    ('label_offset', True, 'a whole number'),
    ('classes', ['a', 'b', 'c'], 'a text'),
    ('class_names', 'abc', 'such as'),
    ('class_names', (1, 2), 'such as'),
    ('palette', 'red', 'whole numbers'),
    ('root', 3, 'a text'),
    ('labels', 'colors', "'ids' or 'colours'"),
    ('labels', ['ids'], "'ids' or 'colours'"),
  ],
)
def test_what_does_not_fit_is_named(option, value, named):
  with pytest.raises(UserError) as caught:
    checked(SOURCES['folder'], {option: value})
  message = str(caught.value)
  assert f'config.data.{option} is {value!r}: give ' in message and named in message
  assert message.endswith('.') and '\n' not in message
