"""Reading prepared data: at random, in threads, without TensorFlow; errors name the remedy."""

import concurrent.futures
import contextlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from pspnet_jax.config import files
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.prepared import SPECS, SPLITS, shared
from pspnet_jax.data.sources import open_source
from pspnet_jax.errors import UserError
from tests import published, tiny


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
  """ADE20K with 40 training and 2 validation images, in files of 8."""
  pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')
  from pspnet_jax.prepare import prepare

  cls = published.accept(monkeypatch, 'ade20k', {'train': 40, 'val': 2})
  monkeypatch.setattr(cls, 'shard_size', 8)
  published.ade20k(tmp_path, cls.counts)
  prepare('ade20k', tmp_path / 'data', tmp_path)
  return tmp_path / 'data'


def same(a, b):
  return a['name'] == b['name'] and all((a[k] == b[k]).all() for k in ('image', 'label'))


def test_threads_and_copies_read_the_same(data_dir):
  source = open_source('ade20k', 'train', data_dir=str(data_dir))
  assert len(source) == 40 and source.spec == SPECS['ade20k']
  assert [path.is_file() for path in source.made_from] == [True]
  copy = pickle.loads(pickle.dumps(source))
  order = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 5)).tolist()
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    read = list(pool.map(source.__getitem__, order))
  assert all(same(example, copy[i]) for i, example in zip(order, read, strict=True))
  assert len({example['name'] for example in read}) == 40
  for index in (40, -1):
    with pytest.raises(IndexError):
      source[index]


def test_reads_with_tensorflow_blocked(data_dir):
  """Makes TensorFlow seem to be installed, with an error for whoever imports it."""
  script = f"""
import importlib.machinery, sys
class Blocked:
  def find_spec(self, name, path=None, target=None):
    if name == 'tensorflow':
      return importlib.machinery.ModuleSpec(name, self)
  def create_module(self, spec):
    raise ImportError('TensorFlow was imported')
sys.meta_path.insert(0, Blocked())
from pspnet_jax.data.sources import open_source
source = open_source('ade20k', 'train', data_dir={str(data_dir)!r})
print(len({{source[i]['label'].tobytes() for i in range(40)}}))
"""
  result = subprocess.run(
    [sys.executable, '-c', script],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  assert (result.returncode, result.stdout) == (0, '40\n'), result.stderr


def test_trains_in_batches(data_dir):
  source = open_source('ade20k', 'train', data_dir=str(data_dir))
  augment = Augment(crop_size=(9, 9))
  batches = train_batches(source, transform=augment, batch_size=8, seed=0, threads=4)
  with contextlib.closing(batches):
    read = [next(batches) for _ in range(5)]
  alone = train_batches(source, transform=augment, batch_size=8, seed=0, threads=0)
  with contextlib.closing(alone):
    for batch in read:
      expected = next(alone)
      assert all((batch[key] == expected[key]).all() for key in ('image', 'label'))


def test_what_is_not_prepared_comes_with_the_command_to_prepare_it(tmp_path):
  command = f'pspnet prepare --dataset=cityscapes_coarse --data_dir={tmp_path}'
  (tmp_path / 'cityscapes' / '1.0.0').mkdir(parents=True)
  (tmp_path / 'cityscapes' / '1.0.0' / 'dataset_info.json').write_text('{}')
  with pytest.raises(UserError, match=command):
    open_source('cityscapes', 'train+train_extra', data_dir=str(tmp_path))


@pytest.mark.parametrize('name', SPLITS)
def test_every_split_of_every_data_set_comes_with_such_a_command(name, tmp_path):
  from pspnet_jax.prepare import BUILDERS

  for split in SPLITS[name]:
    with pytest.raises(UserError, match='run pspnet prepare --dataset=') as error:
      open_source(name, split, data_dir=str(tmp_path))
    [dataset] = re.findall(r'--dataset=(\w+) ', str(error.value))
    assert dataset in BUILDERS and dataset.startswith(name.removesuffix('_59'))


def test_ade20k_has_both_splits_as_one(data_dir):
  both = open_source('ade20k', 'trainval', data_dir=str(data_dir))
  parts = [open_source('ade20k', split, data_dir=str(data_dir)) for split in ('train', 'val')]
  assert len(both) == sum(map(len, parts)) == 42
  assert same(both[39], parts[0][39]) and same(both[40], parts[1][0])


def test_what_two_splits_share_is_known_of_prepared_data():
  assert shared(('ade20k', 'trainval'), ('ade20k', 'val')) == ['ade20k/val']
  assert shared(('pascal_context', 'val'), ('pascal_context_59', 'val')) == ['pascal_context/val']
  assert shared(('voc2012', 'trainaug'), ('voc2012', 'val')) == []
  assert shared(('folder', 'val'), ('folder', 'val')) == []
  assert shared(('ade20k', 'train'), ('ade20k', 'all')) == []


def test_an_unknown_split_is_refused_with_the_known_ones():
  with pytest.raises(UserError, match='trainval, trainaug'):
    open_source('voc2012', 'train_aug')
  with pytest.raises(UserError, match=r"unknown option 'root'.*data_dir"):
    open_source('ade20k', 'train', root='x')
  assert SPLITS.keys() == SPECS.keys()


def test_a_missing_file_is_named(data_dir):
  file = sorted((data_dir / 'ade20k' / '1.0.0').glob('*train*'))[3]
  file.unlink()
  with pytest.raises(UserError, match=f'{file.name} is missing'):
    open_source('ade20k', 'train', data_dir=str(data_dir))


def test_without_tensorflow_datasets_the_extra_is_named(data_dir, monkeypatch):
  from pspnet_jax.prepare import prepare

  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  with pytest.raises(UserError, match=r'pspnet_jax\[tfds\]'):
    open_source('ade20k', 'train', data_dir=str(data_dir))
  with pytest.raises(UserError, match=r'pspnet_jax\[tfds\]'):
    prepare('camvid', data_dir)


def test_the_doctor_reads_prepared_data(data_dir):
  from pspnet_jax.doctor import doctor

  c = files.load(str(tiny.ROOT / 'configs' / 'ade20k_pspnet50.py'))
  c.data.data_dir, c.crop_size = str(data_dir), (9, 9)
  findings = doctor(c, data_dir / 'report')
  assert {f.level for f in findings} <= {'warning'}  # of 150 classes, some occur nowhere
  assert (data_dir / 'report' / 'examples.png').is_file()
