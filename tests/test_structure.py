"""The shape of the package: which way imports go, and that TensorFlow stays out of it."""

import ast
import subprocess
import sys
from pathlib import Path

from tests import tiny

PACKAGE = tiny.ROOT / 'pspnet_jax'

# Rooms from top to bottom; a module may import from its own room and from those below.
PLAN = """
convert doctor evaluate export predict score submit train zoo

prepare

cli from_config

__init__ checkup evaluation evaluation_files predictor weights.init_from

checkpoints contact_sheet inference official.files reporting settings stop_signals submissions
visualize weights.published

weights.exporting weights.importing

weights.recognise

weights.caffe weights.imagenet weights.mit weights.mmseg weights.semseg

weights.download weights.source

card confusion_picture console data.builders.ade20k data.builders.camvid
data.builders.cityscapes data.builders.voc2012 data.diagnosis data.rare_classes data.sources
data.tolerant figures legends official.ade20k official.cityscapes official.voc2012
parallel partial_scores run_files train_step views

official.benchmarks official.counts

event_files losses metrics models.network optim

data.builders.base

data.id_patterns data.loader data.survey

data.prepared

data.augment data.folder data.scenes models.pspnet

data.builders.archives data.classes data.decode data.known_classes data.pairing
data.photometric data.scene_drawing data.warp models.resnet

models.layers

data.spec ops protocol resampling weights.files weights.table weights.zoo

compile_cache compiler_options data.__init__ data.builders.__init__ errors models.__init__
official.__init__ data.sizes weights.__init__ weights.caffemodel winograd
"""
ROOMS = [room.split() for room in PLAN.split('\n\n')]


def modules() -> dict[str, Path]:
  paths = PACKAGE.rglob('*.py')
  return {'.'.join(p.relative_to(PACKAGE).with_suffix('').parts): p for p in paths}


def imports_of(path: Path) -> set[str]:
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      found |= {node.module} | {f'{node.module}.{alias.name}' for alias in node.names}
  return {name.removeprefix('pspnet_jax.') for name in found}


def test_imports_only_go_down():
  rank = {name: i for i, room in enumerate(ROOMS) for name in room}
  assert rank.keys() == modules().keys(), 'a module without a room, or a room without its module'
  for name, path in modules().items():
    for other in imports_of(path) & rank.keys() - {name}:
      if name == '__init__':
        continue  # imports lazily what the package offers
      assert rank[other] >= rank[name], f'{name} imports {other}, which stands above it'


def test_the_network_knows_nothing_of_data():
  for name, path in modules().items():
    if name.startswith('models.') or name == 'ops':
      assert not {i for i in imports_of(path) if i.startswith('data')}, name


def test_only_commands_see_a_config():
  for name, path in modules().items():
    if name not in {
      'settings',
      'cli',
      'from_config',
      'train',
      'evaluate',
      'predict',
      'submit',
      'doctor',
    }:
      assert 'ml_collections' not in imports_of(path), name


def test_configs_import_nothing_from_the_package():
  for path in (tiny.ROOT / 'configs').glob('*.py'):
    assert 'pspnet_jax' not in path.read_text().replace('-m pspnet_jax', ''), path


def test_files_stay_short():
  for name, path in modules().items():
    assert len(path.read_text().splitlines()) <= 300, name


def test_nothing_imports_tensorflow():
  for name, path in modules().items():
    assert not {i for i in imports_of(path) if i.split('.')[0] == 'tensorflow'}, name


def test_trains_with_tensorflow_blocked(tmp_path):
  blocked = (
    'import sys; sys.modules["tensorflow"] = None; '
    'sys.argv[0] = "train"; import runpy; runpy.run_module("pspnet_jax.train", run_name="__main__")'
  )
  result = subprocess.run(
    [
      *(sys.executable, '-c', blocked),
      f'--config={tiny.config_file(tmp_path)}',
      *(f'--workdir={tmp_path / "run"}', '--config.total_steps=2'),
    ],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert list((tmp_path / 'run').glob('events.out.tfevents.*'))
