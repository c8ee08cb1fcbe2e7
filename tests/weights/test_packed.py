"""A packed folder: what was packed comes back bit for bit, or one sentence names what is wrong."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.weights import packed, packed_config
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import mutations, tiny
from tests.weights import packs

NAME = 'classifier/conv/kernel'


def same(a, b):
  return a.keys() == b.keys() and all(
    np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes() for name in a
  )


def test_a_packed_network_comes_back_bit_for_bit(tmp_path):
  made = packs.network(average=True)
  folder = packs.write(tmp_path / 'new/p', made)
  assert {x.name for x in folder.iterdir()} == {'model.safetensors', 'config.json', 'README.md'}
  found = packed.load(folder, build=Card.build_network)
  assert same(found.params, made.params) and same(found.batch_stats, made.batch_stats)
  assert (found.card, found.step, found.kind) == (made.card, 6, made.kind)
  assert packed_config.read(folder).about == packs.ABOUT
  assert same(packed.load(folder).params, made.params)  # of a network whose class is not known


def test_the_digest_is_that_of_the_checkpoint_it_was_packed_from(tmp_path):
  made = packs.network()
  with Checkpoints(tmp_path / 'run') as checkpoints:
    checkpoints.save(6, {'params': made.params, 'batch_stats': made.batch_stats}, made.card)
  with Checkpoints(tmp_path / 'run', read_only=True) as checkpoints:
    found = checkpoints.load()
  assert packed.load(packs.write(tmp_path / 'p', found)).digest == found.digest


def test_it_is_a_file_of_safetensors_that_others_read_in_place(tmp_path):
  content = (packs.write(tmp_path / 'p') / packed.WEIGHTS).read_bytes()
  start = 8 + int.from_bytes(content[:8], 'little')
  header = json.loads(content[8:start])
  assert header.pop('__metadata__') == {'format': 'pspnet_jax'} and start % 8 == 0
  places = sorted(x['data_offsets'] for x in header.values())
  ends = [0, *(end for _, end in places)]
  assert [begin for begin, _ in places] == ends[:-1] and ends[-1] == len(content) - start
  entry, array = header[NAME], packs.network().params[NAME]
  begin, end = entry['data_offsets']
  assert entry['dtype'] == 'F32' and tuple(entry['shape']) == array.shape
  assert content[start + begin : start + end] == np.asarray(array).tobytes()


def test_a_flipped_bit_is_told_by_the_name_of_its_array(tmp_path):
  folder = packs.write(tmp_path / 'p')
  path = folder / packed.WEIGHTS
  content = bytearray(path.read_bytes())
  start = 8 + int.from_bytes(content[:8], 'little')
  begin, _ = json.loads(content[8:start])[NAME]['data_offsets']
  content[start + begin] ^= 1
  path.write_bytes(content)
  with pytest.raises(UserError, match=rf'safetensors: {NAME} is not what was packed'):
    packed.load(folder)


def absent(header):
  entry = header.pop(NAME)
  header['other'] = entry


def doubled(header):
  header['other'] = header[NAME]


def larger(header):
  header[NAME]['shape'][0] *= 10**9


def turned(header):
  header[NAME]['shape'].reverse()


def retyped(header):
  header[NAME]['dtype'] = 'I32'


@pytest.mark.parametrize(
  ('edit', 'message'),
  [
    (absent, f'lacks {NAME}, which config.json names'),
    (doubled, 'its arrays lie over one another'),
    (larger, f'{NAME} does not have the size of its shape'),
    (turned, rf'of another network .*: {NAME} is float32 \(3, .*\) there and float32 .* here'),
    (retyped, rf'of another network .*: {NAME} is int32 .* there and float32'),
  ],
)
def test_a_lying_header_is_one_sentence(edit, message, tmp_path):
  folder = packs.write(tmp_path / 'p')
  packs.edit_header(folder, edit)
  with pytest.raises(UserError, match=message) as caught:
    packed.load(folder, build=Card.build_network)
  assert '\n' not in str(caught.value)
  with pytest.raises(UserError):
    packed.load(folder)  # also where no network says what its arrays should be


def test_an_array_too_many_is_named(tmp_path):
  folder = packs.write(tmp_path / 'p')
  packs.edit_config(folder, lambda values: values['params'].pop(NAME))
  with pytest.raises(UserError, match=f'holds {NAME}, which config.json does not name'):
    packed.load(folder)


def test_huge_sizes_are_refused_before_they_are_read(tmp_path, monkeypatch):
  folder = packs.write(tmp_path / 'p')
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '1000')
  with pytest.raises(UserError, match='1,000 is the limit'):
    packed.load(folder)
  monkeypatch.delenv('PSPNET_JAX_MAX_BYTES')
  (folder / packed.WEIGHTS).write_bytes((2**63).to_bytes(8, 'little') + b'{}')
  with pytest.raises(UserError, match='no header of its length'):
    packed.load(folder)


def test_a_pointer_of_git_in_place_of_the_weights_is_said(tmp_path):
  folder = packs.write(tmp_path / 'p')
  (folder / packed.WEIGHTS).write_text('version https://git-lfs.github.com/spec/v1\n')
  with pytest.raises(UserError, match='a pointer of Git LFS'):
    packed.load(folder)


def test_only_what_was_packed_can_be_had(tmp_path):
  folder = packs.write(tmp_path / 'p', packs.network(average=True))
  assert packed.load(folder, 6).step == packed.load(folder, 'latest').step == 6
  with pytest.raises(UserError, match=r'has no step 5: a packed folder holds one, .* step 6'):
    packed.load(folder, 5)
  with pytest.raises(UserError, match='holds the moving average of the parameters alone'):
    packed.load(folder, ema=False)


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
  (tmp_path / 'mine').mkdir()
  packs.write(tmp_path / 'mine')  # it is empty
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full/notes.txt').write_text('mine')
  (tmp_path / 'file').write_text('')
  for name, message in (('full', 'holds files, and not those of a packed'), ('file', 'is a file')):
    with pytest.raises(UserError, match=message):
      packs.write(tmp_path / name)
  assert os.listdir(tmp_path / 'full') == ['notes.txt']


def test_packing_again_replaces_its_own_files_and_no_others(tmp_path):
  folder = tmp_path / 'p'
  packed.write(
    folder, packs.network(), packs.ABOUT, {'README.md': packs.README, 'example.png': b'x'}
  )
  (folder / 'notes.txt').write_text('mine')
  packs.write(folder, packs.network(1))
  assert not (folder / 'example.png').exists() and (folder / 'notes.txt').read_text() == 'mine'
  assert same(packed.load(folder).params, packs.network(1).params)


@pytest.mark.parametrize(('name', 'target'), [('example.png', 'victim'), ('README.md', 'nothing')])
def test_links_in_a_packed_folder_are_not_written_through(name, target, tmp_path):
  folder, victim = packs.write(tmp_path / 'p'), tmp_path / 'victim'
  victim.write_text('precious')
  packs.edit_config(folder, lambda values: values.update(files={}))  # it states none of them
  (folder / 'README.md').unlink()
  (folder / name).symlink_to(tmp_path / target)
  content = {'README.md': packs.README, 'example.png': b'x'}
  with pytest.raises(UserError, match=rf'{name} is a link, and what it leads to would be written'):
    packed.write(folder, packs.network(1), packs.ABOUT, content)
  assert victim.read_text() == 'precious' and not (tmp_path / 'nothing').exists()
  assert same(packed.load(folder).params, packs.network().params)


def test_a_model_card_that_was_edited_is_not_written_over(tmp_path):
  folder = packs.write(tmp_path / 'p')
  (folder / 'README.md').write_text('My own words.')
  with pytest.raises(UserError, match=r'README\.md was changed since it was packed'):
    packs.write(folder, packs.network(1))
  assert same(packed.load(folder).params, packs.network().params)
  (folder / 'README.md').unlink()
  packs.write(folder, packs.network(1))


def test_what_cannot_be_written_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
  folder = packs.write(tmp_path / 'p')
  before = {path.name: path.read_bytes() for path in folder.iterdir()}

  def fail(number):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', fail)
  with pytest.raises(UserError, match='cannot write to'):
    packs.write(folder, packs.network(1))
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_dtype_that_the_format_lacks_is_refused(tmp_path):
  made = packs.network()
  params = dict(made.params) | {NAME: np.zeros((2, 2), np.complex64)}
  with pytest.raises(UserError, match=f'{NAME} has dtype complex64'):
    packs.write(tmp_path / 'p', dataclasses.replace(made, params=params))
  assert not (tmp_path / 'p').exists()


def test_training_does_not_go_on_in_a_packed_folder(tmp_path):
  folder = packs.write(tmp_path / 'p')
  with pytest.raises(UserError, match=re.escape(f'--config.init_from={folder}')):
    Checkpoints(folder)
  assert not (folder / 'checkpoints').exists()


def test_it_is_read_without_orbax_torch_and_tensorflow(tmp_path):
  folder = packs.write(tmp_path / 'p')
  script = (
    'import sys\n'
    'for name in ("orbax", "orbax.checkpoint", "torch", "tensorflow", "huggingface_hub"):\n'
    '  sys.modules[name] = None\n'
    f'import pspnet_jax; print(pspnet_jax.load({str(folder)!r}))'
  )
  result = subprocess.run(
    [sys.executable, '-c', script],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.startswith('Predictor(PSPNet-10, 3 classes')


@pytest.fixture(scope='module')
def damaged(tmp_path_factory):
  return packs.write(tmp_path_factory.mktemp('damaged') / 'p')


@mutations.fuzz
@given(mutations.mutated([b'header', b'weights', b'config']))
def test_any_damage_ends_in_a_sentence_or_nothing_changed(damaged, edits):
  """What is mutated here is a place and bytes of the files."""
  path = damaged / (packed.CONFIG if len(edits) % 2 else packed.WEIGHTS)
  content = path.read_bytes()
  at = sum(edits) * 37 % len(content)
  try:
    path.write_bytes(content[:at] + edits + content[at + len(edits) :])
    found = mutations.ends_well(packed.load, damaged)
    assert found is None or same(found.params, packs.network().params)
  finally:
    path.write_bytes(content)
