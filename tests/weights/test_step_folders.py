"""A damaged checkpoint costs the steps since the one before, in a sentence, and nothing else."""

import errno
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import parallel
from pspnet_jax.weights import step_folders
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.step_folders import METADATA, SCORES
from tests.weights.test_stored_step import CARD, items_of, load, restore, same


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  """A workdir whose best checkpoint is 6, and the latest 7 and 8; copy it before breaking it."""
  folder = tmp_path_factory.mktemp('kept') / 'run'
  with Checkpoints(folder) as checkpoints:
    for step, score in ((5, 0.1), (6, 0.5), (7, 0.4), (8, None)):
      checkpoints.save(step, items_of(step), CARD, score)
  return folder


@pytest.fixture
def workdir(kept, tmp_path):
  return shutil.copytree(kept, tmp_path / 'run')


def sharding():
  return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(data)


def break_params(folder):
  for path in (folder / 'params').rglob('d/*'):
    flip(path)


def test_a_run_goes_on_from_the_one_before_and_the_damaged_one_is_out_of_the_way(workdir):
  here = workdir / 'checkpoints'
  for round_, name in enumerate(('8.damaged', '8.damaged-2')):
    break_params(here / '8')
    with Checkpoints(workdir) as checkpoints:
      step, items = checkpoints.restore(jax.eval_shape(lambda: items_of(7)), sharding())
      assert step == 7 and checkpoints.latest_step == 7
      same(items, items_of(7))
      [said] = checkpoints.passed_over
      assert said.startswith('Step 8 is damaged (') and said.endswith(f'it lies in {here / name}.')
      checkpoints.save(8, items_of(8), CARD, 0.2 + round_ / 100)
    assert (here / name).is_dir()
    assert Checkpoints(workdir, read_only=True).step('latest') == 8
  same(restore(workdir), items_of(8))


def test_where_none_is_sound_nothing_is_moved(workdir):
  here = workdir / 'checkpoints'
  for step in (6, 7, 8):
    break_params(here / str(step))
  before = sorted(path.name for path in here.iterdir())
  with pytest.raises(
    UserError, match=r'/8 is damaged \(.*\): no other one there is sound: give an'
  ):
    restore(workdir)
  assert sorted(path.name for path in here.iterdir()) == before


def test_the_best_is_never_another_one_in_silence(workdir):
  best = workdir / 'checkpoints' / '6'
  for path in (best / 'ema_params').rglob('d/*'):
    flip(path)
  remedy = 'choose another one with --checkpoint=latest'
  with pytest.raises(UserError, match=rf'checkpoints/6 is damaged \(.*\): {remedy}\.$'):
    load(workdir)
  assert Checkpoints(workdir, read_only=True).load('latest').step == 8
  shutil.rmtree(best / 'metrics')
  with pytest.raises(UserError, match=rf'6 is damaged \(its score, {SCORES}, is gone\): {remedy}'):
    load(workdir)
  break_params(workdir / 'checkpoints' / '8')
  break_params(workdir / 'checkpoints' / '7')
  with pytest.raises(UserError, match=r'/8 is damaged \(.*\): choose another one with .*=7\.$'):
    Checkpoints(workdir, read_only=True).load('latest', ema=False)


@pytest.mark.parametrize('content', ['{', '{"mIoU": 0.41, "step": 7}', 'another', 'changed'])
def test_a_score_that_is_not_what_was_written_is_not_ranked_by(workdir, content):
  path = workdir / 'checkpoints' / '7' / SCORES
  if content == 'another':
    content = (workdir / 'checkpoints' / '6' / SCORES).read_text()
  elif content == 'changed':
    content = path.read_text().replace('0.4,', '0.9,')
  path.write_text(content)
  if content.endswith('7}'):  # as they were before they had a checksum
    assert Checkpoints(workdir, read_only=True).score(7) == 0.41
    return
  with pytest.raises(UserError, match=r'checkpoints/7 is damaged \(its score, '):
    Checkpoints(workdir, read_only=True)
  with Checkpoints(workdir) as checkpoints:
    [said] = checkpoints.passed_over
    assert said.startswith('Step 7 is damaged (its score, ') and checkpoints.best_step == 6


@pytest.mark.parametrize('what', ['step', 'item', 'params of another step', 'a folder of another'])
def test_what_was_swapped_is_damaged(workdir, what):
  here = workdir / 'checkpoints'
  if what == 'step':
    shutil.rmtree(here / '8')
    shutil.copytree(here / '7', here / '8')
    (here / '8' / SCORES).unlink()
  elif what == 'item':
    shutil.rmtree(here / '8' / 'ema_params')
    shutil.copytree(here / '8' / 'params', here / '8' / 'ema_params')
  elif what == 'params of another step':
    shutil.rmtree(here / '8' / 'params')
    shutil.copytree(here / '7' / 'params', here / '8' / 'params')
  else:
    (here / '8' / 'params').rename(here / 'x')
    (here / '8' / 'opt_state').rename(here / '8' / 'params')
    (here / 'x').rename(here / '8' / 'opt_state')
  same(restore(workdir), items_of(7))
  assert (here / '8.damaged').is_dir()


@pytest.mark.parametrize('name', ['8', '8/params', f'8/{SCORES}', '6/card/metadata'])
def test_a_link_in_a_checkpoint_is_not_written_through(workdir, tmp_path, name):
  path, victim = workdir / 'checkpoints' / name, tmp_path / 'victim'
  if path.exists():
    path.rename(victim)
  else:
    path.parent.mkdir()
    victim.write_text(json.dumps({'mIoU': 0.1, 'step': 8}))
  path.symlink_to(victim)
  before = sorted(victim.rglob('*')) if victim.is_dir() else victim.read_bytes()
  with Checkpoints(workdir) as checkpoints:
    [said] = checkpoints.passed_over
    assert 'is a link) and passed over' in said
    checkpoints.save(9, items_of(9), CARD, 0.9)
    checkpoints.save(10, items_of(10), CARD, 0.95)
  assert before == (sorted(victim.rglob('*')) if victim.is_dir() else victim.read_bytes())


def test_the_folder_of_checkpoints_may_not_be_a_link(workdir, tmp_path):
  (workdir / 'checkpoints').rename(tmp_path / 'elsewhere')
  (workdir / 'checkpoints').symlink_to(tmp_path / 'elsewhere')
  with pytest.raises(UserError, match=r'checkpoints is a link, and what it leads to would be wri'):
    Checkpoints(workdir)
  assert Checkpoints(workdir, read_only=True).load('latest').step == 8  # reading does no harm


def test_what_one_process_cannot_read_all_pass_over(workdir, monkeypatch):
  with Checkpoints(workdir) as checkpoints:
    # Sums over the processes: whether one has failed in a block, whether one found damage, ...
    sums = iter([0, 0, 1, 0, 0, 0])
    monkeypatch.setattr(parallel, 'of_first', lambda x: x)
    monkeypatch.setattr(parallel, 'sum_over_processes', lambda x: np.array([next(sums)]))
    step, items = checkpoints.restore(jax.eval_shape(lambda: items_of(7)), sharding())
    monkeypatch.undo()
    assert step == 7 and not list(sums)
    same(items, items_of(7))
    [said] = checkpoints.passed_over
    assert said.startswith('Step 8 is damaged (another process cannot read it) and passed over')


@pytest.mark.parametrize(('method', 'name'), [('read_bytes', SCORES), ('read_text', METADATA)])
def test_where_a_disk_refuses_for_a_while_nothing_is_moved(workdir, monkeypatch, method, name):
  here, plain = workdir / 'checkpoints', getattr(Path, method)

  def refuse(path, **options):
    if path == here / '8' / name or path == here / '7' / name:
      raise OSError(errno.ESTALE, 'Stale file handle', str(path))
    return plain(path, **options)

  before = sorted(path.name for path in here.iterdir())
  with monkeypatch.context() as patch:
    patch.setattr(Path, method, refuse)
    with pytest.raises(UserError, match=rf'/{name} cannot be read \(Stale file handle\)'):
      restore(workdir)
  assert sorted(path.name for path in here.iterdir()) == before
  same(restore(workdir), items_of(8))


def test_what_cannot_be_moved_is_a_sentence_for_all_processes(workdir, monkeypatch):
  (workdir / 'checkpoints' / '7' / SCORES).write_text('{')

  def refuse(*_):
    raise OSError(errno.EROFS, 'Read-only file system')

  monkeypatch.setattr(Path, 'rename', refuse)
  with pytest.raises(UserError, match=r'cannot write to .*/7: Read-only file system'):
    Checkpoints(workdir)
  with pytest.raises(UserError, match=r'cannot write to .*/7: Read-only file system'):
    step_folders.set_aside(workdir / 'checkpoints' / '7', 'x')


@pytest.mark.parametrize(('first', 'says'), [([8, 7], 'sees step 6'), ([9, 8, 7, 6], 'cannot see')])
def test_processes_that_see_other_steps_do_not_go_on_from_them(workdir, monkeypatch, first, says):
  with Checkpoints(workdir) as checkpoints:
    assert checkpoints.agreed_steps() == [8, 7, 6]
    with monkeypatch.context() as patch:
      patch.setattr(parallel, 'of_first', lambda x: np.array(first))
      with pytest.raises(UserError, match=f'^process 0 {says}.* old listing'):
        checkpoints.restore(jax.eval_shape(lambda: items_of(7)), sharding())
    assert not checkpoints.passed_over


TIME = '{"commit_timestamp_nsecs": %s}'
WRONG = ('{', '[]', '\xff', TIME % '"x"', TIME % '1e40', TIME % '-99999999999999999999999')


@pytest.mark.parametrize('step', [6, 8])
@pytest.mark.parametrize(
  'content', [*WRONG, '{"commit_timestamp_nsecs": -99999999999999999999999}']
)
def test_whatever_stands_in_orbax_s_file_is_one_sentence(workdir, content, step):
  path = workdir / 'checkpoints' / str(step) / METADATA
  path.write_bytes(content.encode('latin1'))
  with pytest.raises(UserError, match=rf'/{step} is damaged \({METADATA} cannot be read\): '):
    Checkpoints(workdir, read_only=True).load(step)
  with Checkpoints(workdir) as checkpoints:
    found, items = checkpoints.restore(jax.eval_shape(lambda: items_of(7)), sharding())
    assert found == (7 if step == 8 else 8)
    same(items, items_of(found))
    checkpoints.save(9, items_of(9), CARD, 0.1)
