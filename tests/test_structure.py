"""The shape of the package: which way imports go, and that TensorFlow stays out of it."""

import ast
import subprocess
import sys
from pathlib import Path

from tests import tiny

PACKAGE = tiny.ROOT / 'pspnet_jax'

# Rooms from top to bottom; a module may import from its own room and from those below.
ROOMS = [
  {'train', 'evaluate', 'predict', 'doctor', 'convert', 'export'},
  {'cli', 'from_config'},
  {'evaluation', 'predictor', 'checkup', '__init__', 'weights.init_from'},
  {'inference', 'checkpoints', 'reporting', 'visualize', 'settings', 'contact_sheet'},
  {'stop_signals', 'weights.importing', 'weights.exporting'},
  {'weights.recognise'},
  {'weights.semseg', 'weights.mmseg', 'weights.mit', 'weights.caffe', 'weights.imagenet'},
  {'weights.source', 'weights.class_lists'},
  {
    'train_step',
    'card',
    'parallel',
    'data.sources',
    'data.diagnosis',
    'data.tolerant',
    'data.rare_classes',
    'console',
    'run_files',
    'legends',
  },
  {'losses', 'metrics', 'optim', 'models.network', 'event_files'},
  {'data.loader', 'data.survey', 'data.id_patterns'},
  {'models.pspnet', 'data.scenes', 'data.folder', 'data.augment'},
  {
    'models.resnet',
    'data.scene_drawing',
    'data.decode',
    'data.classes',
    'data.pairing',
    'data.photometric',
    'data.warp',
  },
  {'models.layers'},
  {'ops', 'data.spec', 'weights.table', 'weights.files'},
  {'errors', 'models.__init__', 'data.__init__', 'weights.__init__', 'weights.caffemodel'},
]


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
    if name not in {'settings', 'cli', 'from_config', 'train', 'evaluate', 'predict', 'doctor'}:
      assert 'ml_collections' not in imports_of(path), name


def test_configs_import_nothing_from_the_package():
  for path in (tiny.ROOT / 'configs').glob('*.py'):
    assert 'pspnet_jax' not in path.read_text().replace('-m pspnet_jax', ''), path


def test_files_stay_short():
  for name, path in modules().items():
    assert len(path.read_text().splitlines()) <= 300, name


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
