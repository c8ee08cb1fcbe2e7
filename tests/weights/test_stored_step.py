"""What is read is what was written, or the checkpoint is called damaged; not so a live one."""

import json
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.step_folders import SCORES, scored

SPEC = DatasetSpec(('a', 'b'), ((0, 0, 0), (9, 9, 9)))
CARD = Card(network={'num_classes': 2}, spec=SPEC, crop_size=(8, 8))
DAMAGED = (
  r'^checkpoint .*/checkpoints/7 is damaged \(.*\): (no other one there is sound: give another '
  r'workdir to begin anew|it is the only one: take a copy of it, or train again)\.$'
)


def items_of(step, ema=True):
  rng = np.random.default_rng(step)
  params = {f'layer{i}/kernel': jnp.asarray(rng.standard_normal((40, 50))) for i in range(4)}
  items = {'params': params, 'batch_stats': {'bn/mean': jnp.arange(9.0) + step}}
  items['opt_state'] = optax.sgd(0.1, momentum=0.9).init(params)
  return items | ({'ema_params': {name: x + 1 for name, x in params.items()}} if ema else {})


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  """A workdir with one checkpoint; copy it before breaking it."""
  folder = tmp_path_factory.mktemp('kept') / 'run'
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(7, items_of(7), CARD, 0.5)
  return folder


@pytest.fixture
def workdir(kept, tmp_path):
  return shutil.copytree(kept, tmp_path / 'run')


def restore(workdir):
  with Checkpoints(workdir) as checkpoints:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return checkpoints.restore(jax.eval_shape(lambda: items_of(7)), sharding)[1]


def load(workdir):
  found = Checkpoints(workdir, read_only=True).load()
  return {'params': found.params, 'batch_stats': found.batch_stats}


def same(tree, expected):
  jax.tree.map(np.testing.assert_array_equal, tree, expected)


def renumber(folder, step):
  """Makes a copy of a checkpoint one of another step, as if it had been written as that."""
  path = folder / '_CHECKPOINT_METADATA'
  values = json.loads(path.read_text())
  values['custom_metadata']['step'] = step
  path.write_text(json.dumps(values))
  (folder / SCORES).write_text(json.dumps(scored(0.5, step)))


def data_files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file() and path.parent.name == 'd')


def test_what_was_written_comes_back(workdir):
  same(restore(workdir), items_of(7))
  written = items_of(7)
  same(load(workdir), {'params': written['ema_params'], 'batch_stats': written['batch_stats']})


def test_the_digest_tells_networks_apart(workdir, tmp_path):
  digests = [Checkpoints(workdir, read_only=True).load().digest]
  for seed in (7, 8):
    with Checkpoints(tmp_path / str(seed)) as checkpoints:
      checkpoints.save(3, items_of(seed), CARD, 0.1)
      checkpoints.wait()
      digests.append(checkpoints.load().digest)
  assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize('item', ['params', 'batch_stats', 'opt_state', 'ema_params'])
@pytest.mark.parametrize('how', ['cut', 'emptied', 'removed', 'folder', 'flipped'])
def test_a_damaged_file_is_never_read_in_silence(workdir, item, how):
  """A run that goes on reads all; to evaluate, the average is read in place of the parameters."""
  folder = workdir / 'checkpoints' / '7' / item
  if how == 'folder':
    shutil.rmtree(folder)
  for path in data_files(folder):
    data = bytearray(path.read_bytes())
    if how == 'removed':
      path.unlink()
    elif how == 'flipped':
      data[len(data) // 2] ^= 4
      path.write_bytes(data)
    else:
      path.write_bytes(data[: len(data) // 2] if how == 'cut' else b'')
  with pytest.raises(UserError, match=DAMAGED):
    restore(workdir)
  if item in ('batch_stats', 'ema_params'):
    with pytest.raises(UserError, match=DAMAGED):
      load(workdir)


def test_any_bit_that_changes_values_is_noticed(workdir):
  [path] = (workdir / 'checkpoints' / '7' / 'params' / 'd').iterdir()
  whole, expected, rng = path.read_bytes(), items_of(7), np.random.default_rng(0)
  for bit in rng.integers(8 * len(whole), size=25).tolist():
    data = bytearray(whole)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    try:
      found = restore(workdir)
    except UserError as e:
      assert 'is damaged (' in str(e)
    else:  # a byte that nothing depends on
      same(found, expected)


def test_a_changed_card_is_noticed(workdir):
  path = workdir / 'checkpoints' / '7' / 'card' / 'metadata'
  path.write_text(path.read_text().replace('123.675', '103.675'))
  with pytest.raises(UserError, match=r'damaged \(its card is not what was written\)'):
    load(workdir)


@pytest.mark.parametrize('content', ['', '{', '[]', '{"mIoU": "a"}', '{"step": 1}'])
def test_a_damaged_score_is_named(workdir, content):
  (workdir / 'checkpoints' / '7' / 'metrics' / 'metrics').write_text(content)
  for read_only in (True, False):
    with pytest.raises(UserError, match=r'7 is damaged \(its score, metrics/metrics, cannot be r'):
      Checkpoints(workdir, read_only=read_only)


def test_checkpoints_of_before_there_were_digests_are_read_and_said(workdir, capsys):
  path = workdir / 'checkpoints' / '7' / '_CHECKPOINT_METADATA'
  values = json.loads(path.read_text())
  path.write_text(json.dumps(values | {'custom_metadata': {}}))
  same(restore(workdir), items_of(7))
  load(workdir)
  said = capsys.readouterr().err
  assert said.count('was written before checkpoints had checksums') == said.count('\n') == 2


def test_what_says_nothing_of_the_file_is_left_alone(workdir, monkeypatch):
  def restore(*_, **__):
    raise MemoryError

  monkeypatch.setattr(ocp.Checkpointer, 'restore', restore)
  with pytest.raises(MemoryError):
    load(workdir)


# --- Beside a run that goes on


class Replacing:
  """Does to a workdir what a run that goes on does, when a checkpoint is about to be read."""

  def __init__(self, monkeypatch, workdir, times):
    self.workdir, self.times, self.step = workdir, times, 7
    original = ocp.Checkpointer.restore

    def restore(reader, folder, args):
      if self.times and 'ema_params' in args:
        self.times -= 1
        self.replace()
      return original(reader, folder, args=args)

    monkeypatch.setattr(ocp.Checkpointer, 'restore', restore)

  def replace(self):
    here = self.workdir / 'checkpoints'
    new = here / f'{self.step + 1}.orbax-checkpoint-tmp'
    renumber(shutil.copytree(here / str(self.step), new), self.step + 1)
    new.rename(here / str(self.step + 1))
    # Half of it is gone at first.
    shutil.rmtree(here / str(self.step) / 'ema_params')
    shutil.rmtree(here / str(self.step))
    self.step += 1


def test_a_checkpoint_that_is_replaced_meanwhile_is_followed(workdir, monkeypatch):
  Replacing(monkeypatch, workdir, times=3)
  for which in ('best', 'latest'):
    found = Checkpoints(workdir, read_only=True).load(which)
    same(found.params, items_of(7)['ema_params'])
  assert found.step == 10


@pytest.mark.parametrize(('which', 'times'), [('best', 99), (7, 1)])
def test_one_that_cannot_be_followed_is_not_called_damaged(workdir, monkeypatch, which, times):
  Replacing(monkeypatch, workdir, times)
  with pytest.raises(UserError, match=r'^step \d+ of .*checkpoints was replaced while it was read'):
    Checkpoints(workdir, read_only=True).load(which)


def test_a_list_made_at_the_wrong_moment_is_made_again(workdir):
  here = workdir / 'checkpoints'
  (here / '7').rename(here / '8.orbax-checkpoint-tmp')
  renumber(here / '8.orbax-checkpoint-tmp', 8)
  reader = Checkpoints(workdir, read_only=True)
  (here / '8.orbax-checkpoint-tmp').rename(here / '8')
  assert reader.load().step == 8


def test_a_reader_that_comes_too_early_or_late_does_not_speak_of_writing(workdir, monkeypatch):
  def gone(*_, **__):
    raise FileNotFoundError(2, 'No such file or directory')

  monkeypatch.setattr(ocp, 'CheckpointManager', gone)
  with pytest.raises(UserError, match=r'^cannot read .*/checkpoints: No such file or directory\.$'):
    Checkpoints(workdir, read_only=True)


class Unraisable:
  """Raises where nobody can catch it, as a thread of TensorStore's does."""

  def __init__(self, text):
    self.text = text

  def __del__(self):
    raise RuntimeError(self.text)


def test_what_tensorstore_says_afterwards_is_kept_back_and_nothing_else(workdir, monkeypatch):
  told = []
  monkeypatch.setattr(sys, 'unraisablehook', lambda args: told.append(str(args.exc_value)))
  for path in data_files(workdir / 'checkpoints' / '7' / 'ema_params'):
    path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(UserError, match=DAMAGED):
    load(workdir)
  for text in ('Event loop is closed', 'Encountered error while reading array index: (2,)', 'Else'):
    Unraisable(text)
  assert told == ['Else']


def test_in_a_bucket_a_save_that_is_refused_says_what_is_safe(bucket):
  refused = r'checkpoints may not be used by this account, .*; step 7 is safe\.$'
  with pytest.raises(UserError, match=refused), Checkpoints('gs://scenes/run') as checkpoints:
    checkpoints.save(7, {'params': items_of(7)['params']}, CARD, 0.5)
    checkpoints.wait()
    bucket.put('run/checkpoints/8/params/_METADATA', b'{}')  # killed while it was saved
    bucket.read_only = True
    checkpoints.save(9, {'params': items_of(9)['params']}, CARD, 0.5)
  bucket.read_only = False
  del bucket.objects['run/run.lock']  # which it could not remove
  with Checkpoints('gs://scenes/run') as checkpoints:
    assert checkpoints.latest_step == 7 and checkpoints.score(7) == 0.5
  assert not bucket.names('run/checkpoints/8/') and not bucket.names('run/run.lock')
  same(load('gs://scenes/run')['params'], items_of(7)['params'])


def test_in_a_bucket_a_damaged_checkpoint_is_passed_over_and_lies_beside_it(bucket):
  here = 'run/checkpoints/'
  items = {'params': {'kernel': np.arange(9.0)}}
  with Checkpoints('gs://scenes/run') as checkpoints:
    for step in (6, 7, 8):
      checkpoints.save(step, items, CARD, 0.5)
  bucket.put(f'{here}8/{SCORES}', b'{')
  for name in bucket.names(here):
    if name.startswith('7/params/') and '/d/' in name:
      bucket.put(here + name, b'')
  before = bucket.names(f'{here}7/')
  with Checkpoints('gs://scenes/run') as checkpoints:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    step, found = checkpoints.restore(jax.eval_shape(lambda: items), sharding)
    assert step == checkpoints.latest_step == 6
    same(found, items)
    score, arrays = checkpoints.passed_over
    assert score.startswith('Step 8 is damaged (its score,')
    assert arrays.endswith('it lies in gs://scenes/run/checkpoints/7.damaged.')
    assert not bucket.names(f'{here}7/') and not bucket.names(f'{here}8/')
    checkpoints.save(7, items, CARD, 0.1)
  assert Checkpoints('gs://scenes/run', read_only=True).latest_step == 7
  assert bucket.names(f'{here}7.damaged/') == before  # which Orbax leaves there


def test_in_a_bucket_a_file_that_is_gone_is_damage_and_an_outage_is_not(bucket):
  with Checkpoints('gs://scenes/run') as checkpoints:
    checkpoints.save(7, {'params': items_of(7)['params']}, CARD)
  checkpoints = Checkpoints('gs://scenes/run', read_only=True)
  bucket.status = 403
  with pytest.raises(UserError, match=r'checkpoints/7 may not be used by this account'):
    checkpoints.load()
  bucket.status = None
  for name in bucket.names():
    if '/d/' in name:
      del bucket.objects[name]
  with pytest.raises(UserError, match=DAMAGED):
    Checkpoints('gs://scenes/run', read_only=True).load()
