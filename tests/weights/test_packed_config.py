"""What config.json of a packed folder says, and what it may not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.errors import UserError
from pspnet_jax.weights import packed, packed_config
from tests import mutations
from tests.weights import packs


@pytest.fixture
def folder(tmp_path):
  return packs.write(tmp_path / 'p')


def test_a_change_by_hand_is_noticed(folder):
  path = folder / packed.CONFIG
  path.write_text(path.read_text().replace('"sky"', '"air"'))
  with pytest.raises(UserError, match='its own SHA-256 differs'):
    packed_config.read(folder)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'{}', 'is not of pspnet pack: name a folder that it wrote'),
    (b'{"model_type": "segformer"}', 'is not of pspnet pack'),
    (b'[1]', 'it is no dictionary'),
    (b'{"format": "pspnet_jax"', 'not what pspnet pack wrote'),
    (b'\xff\xfe', 'not what pspnet pack wrote'),
    (b'[' * 100_000, 'not what pspnet pack wrote'),
    (b' ' * 11_000_000, 'more than 10,000,000 bytes'),
  ],
  ids=range(7),
)
def test_another_file_is_said_to_be_one(folder, content, message):
  (folder / packed.CONFIG).write_bytes(content)
  with pytest.raises(UserError, match=message) as caught:
    packed_config.read(folder)
  assert '\n' not in str(caught.value)


def test_a_missing_file_is_named(folder):
  (folder / packed.CONFIG).unlink()
  with pytest.raises(UserError, match=r'p lacks config\.json'):
    packed_config.read(folder)


@pytest.mark.parametrize(
  'name', ['../../secret.md', '/etc/passwd', 'a/b.png', '.ssh', 'x.md\n', '..', '']
)
def test_no_file_outside_of_the_folder_is_believed_to_be_of_it(folder, name):
  """They would be uploaded with it, and removed when it is packed again."""
  packs.edit_config(folder, lambda values: values['files'].update({name: '0'}))
  with pytest.raises(UserError, match='no name that pspnet pack would give'):
    packed_config.read(folder)


@pytest.mark.parametrize(
  ('where', 'value', 'message'),
  [
    (('figures', 0, 'values', 'mIoU'), 10**400, 'its figures are no fractions'),
    (('figures', 0, 'classes', 'sky'), -1.0, 'its figures are no fractions'),
    (('step',), -5, 'its step is -5'),
    (('step',), 10**400, 'its step is 1000'),
    (('card', 'crop_size'), [10**9, 10**9], 'crop_size has .* is the limit'),
    (('card', 'std', 1), float('nan'), 'std have to be positive'),
    (('card', 'protocol', 'scales'), [float('inf')], 'not all positive and 100 at most'),
    (('card', 'protocol', 'scales'), [1.0, float('nan')], 'not all positive and 100 at most'),
    (('card', 'protocol', 'window'), [10**6, 10**6], 'window .* is the limit'),
    (('card', 'protocol', 'window'), [10**9, 1], 'is not a height and a width'),
    (('card', 'protocol', 'extra'), -(10**9), 'extra -1000000000 is no number of pixels'),
  ],
  ids=range(11),
)
def test_figures_and_sizes_that_no_network_has_are_refused(folder, where, value, message):
  def edit(values):
    for key in where[:-1]:
      values = values[key]
    values[where[-1]] = value

  packs.edit_config(folder, edit)
  with pytest.raises(UserError, match=message):
    packed_config.read(folder)


def test_the_config_of_a_training_is_found_in_either_file(folder):
  assert not packed_config.has_training(folder)
  packs.edit_config(folder, lambda values: values.update(training={'seed': 3}))
  assert packed_config.has_training(folder)
  values = json.loads((folder / packed.CONFIG).read_text())
  assert packed_config.training_in(values) == {'seed': 3}
  assert packed_config.training_in({'seed': 3}) == {'seed': 3}


@pytest.fixture(scope='module')
def edited(tmp_path_factory):
  return packs.write(tmp_path_factory.mktemp('edited') / 'p')


@mutations.fuzz
@given(st.lists(mutations.EDITS, min_size=1, max_size=3))
def test_any_other_content_ends_in_a_sentence(edited, edits):
  path = edited / packed.CONFIG
  before = path.read_text()
  try:
    values = mutations.edited(json.loads(before), edits)
    if isinstance(values, dict):
      values['sha256'] = packed_config._own_sha256(values)
    path.write_text(json.dumps(values))
    mutations.ends_well(packed.load, edited)
  finally:
    path.write_text(before)
