"""What an annotation says of a setting."""

from collections.abc import Sequence
from typing import Literal

import pytest

from pspnet_jax.data.spec import PathText
from pspnet_jax.runtime.annotated import described, fits


@pytest.mark.parametrize(
  ('annotation', 'good', 'bad', 'says'),
  [
    (int, [1, None], [1.0, True, '1'], 'a whole number'),
    (float, [1, 1.5], [True, '1'], 'a number'),
    (bool, [True], [1], 'True or False'),
    (PathText, ['x'], [1], 'a text'),
    (Literal['a', 'b'] | None, ['a'], ['c', 1], "'a' or 'b'"),
    (
      tuple[float, float],
      [(1, 2.0), [1, 2]],
      [(1,), 'ab', ('a', 1), (1, None)],
      'two numbers with commas',
    ),
    (Sequence[int] | None, [(), (1, 2)], ['1', (1.5,), (None,), 3], 'whole numbers with commas'),
    (Sequence[int | Sequence[int]], [(1, (2, 3))], [('a',)], 'values with commas between them'),
    (int | Literal['x'], [1, 'x'], ['y'], "a whole number or 'x'"),
    (object, [1, 'x', ()], [], 'another value'),
  ],
)
def test_values_fit_or_do_not(annotation, good, bad, says):
  assert all(fits(x, annotation) for x in good) and not any(fits(x, annotation) for x in bad)
  assert described(annotation).startswith(says)
