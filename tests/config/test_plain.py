"""Values that people write in config files, as JSON can hold them."""

import enum
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.config import files, plain
from pspnet_jax.errors import UserError


class Kind(enum.StrEnum):
  A = 'a'


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (Path('/x'), '/x'),
    (np.float32(0.5), 0.5),
    (np.int64(4), 4),
    (np.bool_(True), True),
    (np.str_('a'), 'a'),
    (Kind.A, 'a'),
    (np.array([[1, 2], [3, 4]]), ((1, 2), (3, 4))),
    (np.array(7), 7),
    (jnp.arange(3), (0, 1, 2)),
    ({8, 7}, (7, 8)),
    (frozenset({'b', 'a'}), ('a', 'b')),
    ([1, [2.5, np.int8(3)], Path('x')], (1, (2.5, 3), 'x')),
    (range(3), (0, 1, 2)),
    ({'a': {Path('b')}}, {'a': ('b',)}),
    (None, None),
  ],
)
def test_what_has_a_plain_form_gets_it(value, expected):
  made = plain.plain(value, 'data.x', 'c.py')
  assert made == expected and type(made) is type(expected)
  json.dumps(made, allow_nan=False)


class Bad:
  def __repr__(self):
    raise RuntimeError


def nested():
  value = []
  value.append(value)
  return value


@pytest.mark.parametrize(
  'value',
  [print, object(), Bad(), 1j, b'x', {1: 2}, np.zeros(200_000), np.array([None]), nested()],
)
def test_what_has_none_is_named(value):
  with pytest.raises(UserError, match=r'^c\.py sets data\.x to .*: .*\.$') as caught:
    plain.plain(value, 'data.x', 'c.py')
  assert '\n' not in str(caught.value) and len(str(caught.value)) < 250


def test_a_config_file_may_hold_them_anywhere(tmp_path):
  (tmp_path / 'c.py').write_text(
    'import ml_collections, numpy as np\nfrom pathlib import Path\n'
    'def get_config():\n'
    '  c = ml_collections.ConfigDict()\n'
    '  c.data = {"root": Path("/x"), "ignore_ids": {8, 7}, "val": {}}\n'
    '  c.data.val.label_ids = np.array([0, 2])\n'
    '  c.batch_size, c.total_steps, c.loss = np.int64(4), 3e4, {"class_weights": np.ones(3)}\n'
    '  c.optimizer, c.crop_size = {"base_lr": np.float32(0.5)}, np.array([33, 49])\n'
    '  return c\n'
  )
  c = files.load(str(tmp_path / 'c.py'))
  assert (c.data.root, c.data.ignore_ids, c.data.val.label_ids) == ('/x', (7, 8), (0, 2))
  assert (c.batch_size, c.total_steps, c.loss.class_weights) == (4, 30_000, (1.0, 1.0, 1.0))
  files.save(c, tmp_path / 'config.json')
  assert files.load_saved(tmp_path / 'config.json').to_dict() == c.to_dict()


def test_numbers_that_are_none_are_found():
  values = {'a': {'b': (1.0, (float('nan'),))}}
  assert plain.first_not_finite(values)[0] == 'a.b'
  assert plain.first_not_finite({'a': (1, 'x', None)}) is None
