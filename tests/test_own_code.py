"""A network, a loss, an optimiser, data, a transform and a callback of one's own, by commands."""

import contextlib
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax.config import files
from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.export import export
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.train import train
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import own, tiny
from tests.command_lines import Job, results

pytestmark = pytest.mark.usefixtures('one_device')

CONFIG = """
import ml_collections

def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size, c.total_steps, c.crop_size = 8, 4, (33, 49)
  c.log_every, c.eval_every, c.checkpoint_every, c.pictures = 2, 2, 0, 1
  c.data = {'name': 'mine:Scenes', 'train': {'length': 24}, 'val': {'length': 3}}
  c.model = {'name': 'mine:AsppNet', 'style': 'summed', 'rates': (1, 3), 'depth': 10,
             'stem_channels': (4, 4, 8), 'width': 4, 'head_channels': 8, 'aux_channels': 8}
  c.loss = {'name': 'mine:Weighted', 'weight': 1.5}
  c.optimizer = {'name': 'mine:adam', 'base_lr': 0.001}
  c.augment = {'transform': 'mine:brighter'}
  c.callbacks = ('mine:Recording',)
  c.eval = {'whole_images': True}
  return c
"""
NAMES = (
  *('--config.model.name=mine:AsppNet', '--config.loss.name=mine:Weighted'),
  *('--config.optimizer.name=mine:adam', '--config.data.name=mine:Scenes'),
  *('--config.augment.transform=mine:brighter', '--config.callbacks=mine:Recording'),
)


def commands(folder, *lines):
  """Runs commands in the folder where the user's file lies; returns what they print."""
  answers = results([Job(line, str(folder), run=True) for line in lines])
  assert not [answer for answer in answers if answer[0]], answers
  return [said for _, said in answers]


def refusals(folder, *lines):
  """What commands say that end with a sentence and nothing else."""
  answers = results([Job(line, str(folder), run=True) for line in lines])
  for status, said in answers:
    assert status == 1 and said.startswith('Error: ') and said.count('\n') == 1, said
  return [said for _, said in answers]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Holds the user's file, and `run`, a workdir that was stopped at step 2 and went on to 4."""
  folder = tmp_path_factory.mktemp('user')
  shutil.copy(own.__file__, folder / 'mine.py')
  (folder / 'config.py').write_text(CONFIG)
  arguments = '--config=config.py', '--workdir=run'
  train = 'train', *arguments
  first, second = commands(folder, (*train, '--config.total_steps=2'), train)
  assert 'AsppNet' in first
  return folder, second


@contextlib.contextmanager
def importable(folder):
  """The user's file as `mine`, in this process."""
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    patch.delitem(sys.modules, 'mine', raising=False)  # another test's
    yield
    sys.modules.pop('mine', None)


def test_a_run_goes_on_and_says_how_to_use_it(folder):
  folder, out = folder
  assert 'Going on from step 2.\n  total_steps: 2 → 4\n' in out  # and nothing else has changed
  assert 'evaluate --workdir=run --model=mine:AsppNet --config.data.name=mine:Scenes' in out
  assert 'predict --workdir=run --model=mine:AsppNet --input' in out
  assert json.loads((folder / 'tracked.json').read_text())['step'] == 4  # the callback
  records = [json.loads(x) for x in (folder / 'run' / 'metrics.jsonl').read_text().splitlines()]
  assert [r['step'] for r in records] == [2, 2, 4, 4]
  logged = records[0]  # the loss is 1.5 times what it was, and has two parts here
  assert logged['train/loss'] == pytest.approx(
    logged['train/main_loss'] + 0.4 * logged['train/aux_loss']
  )
  assert logged['learning_rate'] <= 0.001


def test_evaluation_imports_nothing_that_is_not_named_and_says_which_flags_to_give(folder):
  folder, _ = folder
  trace = folder / 'imported'
  Image.fromarray(own.Scenes('val')[0]['image']).save(folder / 'scene.png')
  (folder / 'mine.py').rename(folder / 'mine_for_now')
  (folder / 'mine.py').write_text(f'open({str(trace)!r}, "w").close()\n1 / 0\n')
  try:
    error, *others = refusals(
      folder,
      ('evaluate', '--workdir=run'),
      ('evaluate', '--workdir=run', '--config.data.name=context_scenes'),
      ('predict', '--workdir=run', '--input=scene.png', '--output=out'),
    )
    assert 'mine:Scenes' in error and '--config.data.name=mine:Scenes' in error
    assert all('--model=mine:AsppNet' in other for other in others)
    assert not trace.exists()
    with pytest.raises(UserError, match='give --model=mine:AsppNet, or model= in Python, if you'):
      pspnet_jax.load(folder / 'run')
    files.load_saved(folder / 'run' / 'config.json')
    assert not trace.exists()
  finally:
    (folder / 'mine_for_now').rename(folder / 'mine.py')


def test_training_goes_on_from_a_workdir_alone_if_everything_is_named(folder):
  folder, _ = folder
  train = 'train', '--workdir=run'
  [said] = commands(folder, (*train, *NAMES))
  assert 'Training is done' in said or 'All 4 steps are done' in said
  left_out = [NAMES[i] for i in (0, 4, 5)]
  lines = [(*train, *(flag for flag in NAMES if flag != one)) for one in left_out]
  for one, refusal in zip(left_out, refusals(folder, *lines), strict=True):
    assert one in refusal


@pytest.mark.parametrize('how', ['flags', 'config'])
def test_evaluation_repeats_the_score_of_training(folder, how):
  folder, _ = folder
  names = {
    'flags': ('--model=mine:AsppNet', '--config.data.name=mine:Scenes'),
    'config': ('--config=config.py',),
  }[how]
  commands(folder, ('evaluate', '--workdir=run', '--checkpoint=latest', *names))
  scores = json.loads((folder / 'run' / 'evaluation' / 'scores.json').read_text())
  record = json.loads((folder / 'run' / 'metrics.jsonl').read_text().splitlines()[-1])
  assert scores['mIoU'] == record['val/mIoU']


def test_python_loads_the_network_by_class_and_by_name(folder):
  folder, _ = folder
  image = own.Scenes('val')[0]['image']
  with importable(folder):
    model = pspnet_jax.load('run', model='mine:AsppNet')
    label = model(image)
    np.testing.assert_array_equal(pspnet_jax.load('run', model=own.AsppNet)(image), label)
    assert label.shape == image.shape[:2] and 'AsppNet-10' in repr(model)
    c = files.load('config.py')
    scores = evaluate(c, folder / 'run', model=own.AsppNet)
  assert scores.confusion.sum() == 3 * 33 * 49
  # What was trained, not what the class does by default: dilation leaves no trace in shapes.
  with Checkpoints(folder / 'run', read_only=True) as checkpoints:
    card = checkpoints.card()
    assert card.network['rates'] == (1, 3) and card.network['style'] == 'summed'
    with pytest.raises(UserError, match='is of another network: bottleneck/'):
      checkpoints.load(build=lambda _: Network(11, **tiny_options()))


def test_images_are_predicted_with_the_network_that_is_named(folder):
  folder, _ = folder
  scene = own.Scenes('val')[0]['image']
  Image.fromarray(scene).save(folder / 'scene.png')
  arguments = '--workdir=run', '--model=mine:AsppNet', '--input=scene.png', '--output=out'
  commands(folder, ('predict', *arguments))
  written = np.asarray(Image.open(folder / 'out' / 'labels' / 'scene.png'))
  np.testing.assert_array_equal(written, pspnet_jax.load(folder / 'run', model=own.AsppNet)(scene))


def tiny_options():
  return {
    'depth': 10,
    'stem_channels': (4, 4, 8),
    'width': 4,
    'head_channels': 8,
    'aux_channels': 8,
  }


class Wide(own.AsppNet):
  """Has another branch than the network that was trained."""

  def __init__(self, num_classes, *, rates, rngs, **options):
    super().__init__(num_classes, rates=(*rates, 9), rngs=rngs, **options)


def test_another_network_is_refused_with_the_first_array_that_differs(folder):
  folder, _ = folder
  says = r'is of another network: bottleneck/branches/2/kernel is absent there and \(3, 3, 32, 8\)'
  with pytest.raises(UserError, match=says):
    pspnet_jax.load(folder / 'run', model=Wide)


def test_a_pspnet_can_start_from_its_backbone_only_by_name_of_what_differs(folder):
  folder, _ = folder
  spec = own.Scenes('val').spec
  card = Card(network={'num_classes': 11, **tiny_options()}, spec=spec, crop_size=(33, 49))
  network = card.build_network()
  with pytest.raises(UserError, match=r'make config\.model fit .*name: mine:AsppNet and pspnet'):
    start_from(str(folder / 'run'), card, *network.init(0))


def test_the_network_is_not_written_in_the_format_of_another_implementation(folder, tmp_path):
  folder, _ = folder
  with pytest.raises(
    UserError, match=r'the network is mine:AsppNet .config\.model\.name., and sem'
  ):
    export(folder / 'run', tmp_path / 'a.pth', 'semseg')
  assert not (tmp_path / 'a.pth').exists()


@pytest.mark.parametrize('group', ['data', 'model', 'loss', 'optimizer', 'augment', 'callbacks'])
def test_a_workdir_from_elsewhere_runs_no_code(tmp_path, group):
  """Its config names a module that leaves a trace, where any name may stand."""
  trace = tmp_path / 'imported'
  (tmp_path / 'trap.py').write_text(f'open({str(trace)!r}, "w").close()\ndef system(*a): pass\n')
  files.save(tiny.config(tmp_path), tmp_path / 'config.json')
  saved = json.loads((tmp_path / 'config.json').read_text())
  if group == 'augment':
    saved['augment']['transform'] = 'trap:system'
  elif group == 'callbacks':
    saved['callbacks'] = ['trap:system']
  else:
    saved[group]['name'] = 'trap:system'
  (tmp_path / 'config.json').write_text(json.dumps(saved))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tmp_path)
    patch.syspath_prepend(str(tmp_path))
    c = files.load_saved(tmp_path / 'config.json')
    with pytest.raises(UserError, match='trap:system, which is imported only if you name it'):
      train(c, tmp_path / 'run')
    assert 'trap' not in sys.modules and not trace.exists()
