"""What is kept when things go wrong around a checkpoint."""

import json
import shutil
import subprocess
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax.config import files
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.train import train
from pspnet_jax.weights import checkpoints as checkpoints_module
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A workdir of two steps, made by the command; copy it before breaking it."""
  folder = tmp_path_factory.mktemp('trained')
  arguments = f'--config={tiny.config_file(folder)}', f'--workdir={folder / "run"}'
  result = tiny.run('train', *arguments, '--config.total_steps=2')
  assert result.returncode == 0, result.stderr
  return folder / 'run'


@pytest.fixture
def workdir(trained, tmp_path):
  return shutil.copytree(trained, tmp_path / 'run')


def test_a_write_that_fails_in_the_background_ends_in_a_sentence(workdir, tmp_path):
  command = tiny.command('train', f'--config={tiny.config_file(tmp_path)}', f'--workdir={workdir}')
  result = subprocess.run(
    ['sh', '-c', 'ulimit -f 40; exec "$@"', 'sh', *command],  # files of 20 kB at most
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  assert result.returncode == 1
  assert result.stderr.startswith('Error: cannot write a checkpoint to')
  assert 'step 2 is safe' in result.stderr and result.stderr.count('\n') == 1
  assert Checkpoints(workdir, read_only=True).latest_step == 2


def test_another_network_is_refused_and_nothing_is_touched(workdir, tmp_path):
  before = (workdir / 'config.json').read_text()
  wider = tiny.config(tmp_path, model__head_channels=16)
  with pytest.raises(UserError, match=r'bottleneck/bn/bias is \(8,\) there and \(16,\) here'):
    train(wider, workdir)
  assert (workdir / 'config.json').read_text() == before
  with pytest.raises(UserError, match='bottleneck/bn/bias'):
    network = Network(11, **{key: x for key, x in wider.model.items() if key != 'name'})
    Checkpoints(workdir, read_only=True).load(build=lambda _: network)


@pytest.mark.parametrize('text', ['{', '[]', '"a"', ''])
def test_a_damaged_config_does_not_stop_a_run(workdir, tmp_path, text):
  (workdir / 'config.json').write_text(text)
  train(tiny.config(tmp_path, total_steps=2), workdir)
  assert json.loads((workdir / 'config.json').read_text())['total_steps'] == 2
  pspnet_jax.load(workdir)


@pytest.mark.parametrize('item', ['card', 'params', 'arrays'])
def test_a_damaged_checkpoint_is_named(workdir, item):
  if item == 'arrays':
    for path in (workdir / 'checkpoints' / '2' / 'params').rglob('*'):
      if path.is_file() and path.parent.name == 'd':
        path.write_bytes(path.read_bytes()[:100])
  else:
    shutil.rmtree(workdir / 'checkpoints' / '2' / item)
  with pytest.raises(UserError, match=r'checkpoints/2.*damaged'):
    pspnet_jax.load(workdir)


def test_a_run_whose_last_evaluation_was_cut_short_catches_up(workdir, tmp_path, capsys):
  shutil.rmtree(workdir / 'checkpoints' / '2' / 'metrics')
  train(tiny.config(tmp_path, total_steps=2), workdir)
  assert 'mAcc' in capsys.readouterr().out


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_bad_label_met_late_keeps_what_was_learnt(tmp_path, split):
  for part in ('train', 'val'):
    for i in range(8):
      for kind, array in (('images', np.zeros((40, 40, 3))), ('labels', np.eye(40))):
        path = tmp_path / kind / part / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(path)
  c = tiny.config(tmp_path, crop_size=(33, 33), batch_size=1, checkpoint_every=0, seed=1)
  c.model.bins = (2,)  # one image gives a 1×1 bin nothing to normalise by
  c.data = {
    'name': 'folder',
    'root': str(tmp_path),
    'class_names': ('a', 'b', 'c'),
    'train': {'split': 'train'},
    'val': {'split': 'val'},
  }
  Image.fromarray(np.full((40, 40), 9, np.uint8)).save(tmp_path / 'labels' / split / '4.png')
  c.total_steps = 8 if split == 'train' else 2
  with pytest.raises(UserError, match=r'4\.png'):
    train(c, tmp_path / 'run')
  assert Checkpoints(tmp_path / 'run', read_only=True).latest_step


def test_best_and_latest_are_kept_and_chosen(tmp_path, workdir):
  checkpoints = Checkpoints(workdir, read_only=True)
  assert checkpoints.step('best') == checkpoints.step('latest') == checkpoints.step(2) == 2
  with pytest.raises(UserError, match=r'has no step 7; it has \[2\]'):
    checkpoints.step(7)


CARD = Card(
  network={'num_classes': 2}, spec=DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1))), crop_size=(8, 8)
)


def test_two_do_not_write_at_once(tmp_path):
  with Checkpoints(tmp_path):
    message = r'is in use by this process itself, which has to close it first: wait for its end, or'
    with pytest.raises(UserError, match=message):
      Checkpoints(tmp_path)
    with pytest.raises(UserError, match='holds no checkpoint: '):  # reading is open to all
      Checkpoints(tmp_path, read_only=True).load()
  Checkpoints(tmp_path).close()


@pytest.mark.parametrize('error', [KeyboardInterrupt, Stopped('x'), ValueError('x')])
def test_whatever_ends_the_opening_gives_the_workdir_free(tmp_path, monkeypatch, error):
  def end(*_, **__):
    raise error

  with monkeypatch.context() as patch:
    patch.setattr(checkpoints_module, 'open_manager', end)
    with pytest.raises(type(error) if isinstance(error, Exception) else error) as kept:
      Checkpoints(tmp_path)
  Checkpoints(tmp_path).close()
  assert kept.tb  # which holds the first one, so that nothing else has let it go


def test_nothing_is_saved_among_the_checkpoints_of_another_run(tmp_path):
  items = {'params': {'a': jnp.float32(1)}, 'batch_stats': {}}
  with Checkpoints(tmp_path / 'run') as checkpoints:
    checkpoints.save(180, items, CARD)
    checkpoints.wait()
    shutil.rmtree(tmp_path / 'run')
    with Checkpoints(tmp_path / 'run') as other:
      for attempt in (checkpoints.lost, lambda: checkpoints.save(181, items, CARD)) * 2:
        with pytest.raises(UserError, match='run is in use by this process itself'):
          attempt()
      other.save(2, items, CARD)
    for attempt in (checkpoints.lost, lambda: checkpoints.save(181, items, CARD)) * 2:
      with pytest.raises(UserError, match=r'was replaced while .* nothing was saved there'):
        attempt()
    assert [path.name for path in checkpoints.directory.iterdir()] == ['2']
    shutil.rmtree(tmp_path / 'run')
    checkpoints.save(181, items, CARD)
    checkpoints.wait()
    assert checkpoints.kept() == 'the checkpoint of step 181 is saved' and not checkpoints.lost()
    checkpoints.save(182, items, CARD)
  assert Checkpoints(tmp_path / 'run', read_only=True).latest_step == 182


def test_a_run_that_could_not_begin_gives_the_workdir_free(workdir, tmp_path):
  (workdir / 'config.json').unlink()
  (workdir / 'config.json').mkdir()
  for _ in range(2):
    with pytest.raises(UserError, match=r'config\.json is a folder'):
      train(tiny.config(tmp_path), workdir)


def test_of_equally_good_checkpoints_the_first_is_the_best(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for step, score in ((1, 0.3), (2, 0.5), (3, 0.5), (4, 0.5), (5, None)):
    items = {'params': {'a': jnp.float32(step)}, 'batch_stats': {'b': jnp.float32(0)}}
    checkpoints.save(step, items, CARD, score)
  checkpoints.close()
  again = Checkpoints(tmp_path, read_only=True)
  assert (again.best_step, again.score(2), again.step('latest')) == (2, 0.5, 5)
  assert sorted(int(path.name) for path in again.directory.iterdir()) == [2, 4, 5]


@pytest.mark.parametrize('tx', [optax.sgd(0.1), optax.adam(0.1)], ids=['sgd', 'adam'])
def test_a_network_without_statistics_and_an_optimiser_without_state_come_back(tmp_path, tx):
  params = {'backbone/kernel': jnp.arange(3.0)}
  items = {'params': params, 'batch_stats': {}, 'opt_state': tx.init(params)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, items, CARD)
    checkpoints.wait()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    step, restored = checkpoints.restore(jax.eval_shape(lambda: items), sharding)
    assert step == 3
    assert jax.tree.structure(restored) == jax.tree.structure(items)
    jax.tree.map(np.testing.assert_array_equal, restored, items)
    for network in (None, SimpleNamespace(param_shapes=params, batch_stat_shapes={})):
      found = checkpoints.load(build=lambda _, network=network: network)
      assert found.batch_stats == {} and list(found.params) == list(params)
    # Where there are some, or should be, the difference is named.
    other = SimpleNamespace(param_shapes=params, batch_stat_shapes={'bn/mean': jnp.zeros(2)})
    with pytest.raises(UserError, match=r'has no batch_stats: it is damaged, or use the'):
      checkpoints.load(build=lambda _: other)


@pytest.mark.parametrize('optimizer', [{'frozen': ('backbone',)}, {'name': 'adamw'}])
def test_another_optimiser_is_named_and_no_checkpoint_is_called_damaged(
  workdir, tmp_path, optimizer
):
  path = tmp_path / 'other.py'
  other = f'  c.optimizer = {optimizer!r}\n  return c'
  path.write_text(tiny.CONFIG.replace('  return c', other))
  with pytest.raises(UserError, match='of another optimiser, or of one that froze other parts'):
    train(files.load(str(path)), workdir)
  assert Checkpoints(workdir, read_only=True).latest_step == 2


def test_plain_parameters_can_be_had_where_an_average_was_kept(tmp_path):
  params, average, stats = ({'a': jnp.float32(x)} for x in (1, 2, 3))
  items = {'params': params, 'batch_stats': stats}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, items, CARD, 0.5)
    checkpoints.save(2, items | {'ema_params': average}, CARD)
    checkpoints.wait()
    for step, ema, wanted, said in (
      (1, True, params, ''),
      (1, False, params, ''),
      (2, True, average, ' (the moving average of the parameters)'),
      (2, False, params, ' (not their moving average)'),
    ):
      found = checkpoints.load(step, ema=ema)
      assert (found.params, found.batch_stats, found.kind) == (wanted, stats, said)
