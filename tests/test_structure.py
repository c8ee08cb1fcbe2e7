"""The shape of the package: which way imports go, and that TensorFlow stays out of it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests import tiny

PACKAGE = tiny.ROOT / 'pspnet_jax'

# From top to bottom: a room may import from those on lines below its own. Rooms on one line do not
# know each other. What lies at the root belongs to the doors, but for `errors`.
PLAN = """
doors
config
planning
training
weights evaluation checkup prediction exports web
inference pictures reporting
models data
runtime ops
errors
"""
# Modules without a test file of their name -> the one that tests them, and why it is that one.
TESTED_IN = {
  '__main__': 'test_cli',  # it only finds the command
  'config.defaults': 'config/test_signatures',  # they stand in signatures
  'config.help_text': 'test_cli',
  'data.checked': 'data/test_sources',  # sources of one's own are checked
  'inference.by_rows': 'inference/test_division',  # what divides does its work by it
  'data.scene_drawing': 'data/test_scenes',  # a scene is what it draws
  'prediction.labelling': 'test_predict',  # the core of both commands
  'prediction.results': 'test_predict',  # what the command writes, and what it finds again
  'prediction.video': 'test_predict',
  'prediction.work': 'test_batch_predict',  # what each worker does
  'runtime.meeting_place': 'runtime/test_meeting',
  'runtime.notes': 'runtime/test_peers',  # what they tell each other by
  'runtime.same_step': 'runtime/test_peers',
  'training.saving': 'training/test_loop',  # what a loop keeps, and when
  'training.window': 'training/test_loop',
  'weights.checkpoint_faults': 'weights/test_stored_step',  # which are raised there
  'weights.checkpoint_manager': 'weights/test_checkpoints',
  'weights.choosing': 'weights/test_stored_step',  # beside a run that goes on
  'weights.loaded': 'weights/test_stored_step',  # where it is made
  # Tables and conventions of a source: compared with its authors' network.
  **{
    f'weights.foreign.{name}': 'weights/test_importing'
    for name in (
      *('caffe', 'gluoncv', 'imagenet', 'mit', 'mmseg', 'origin', 'semseg'),
      'sssegmentation',
    )
  },
}
# Test files that are about more than one module.
OF_NO_MODULE = (
  *('ahead_of_time', 'bad_files', 'bad_input', 'benchmarks', 'buckets', 'extending', 'notebooks'),
  'own_code',
  *(
    'camvid_benchmark',
    'configs',
    'docs',
    'fault_benchmark',
    'figures',
    'launch_files',
    'onnx_export_benchmark',
    'soak_benchmark',
    'structure',
    'wheel',
  ),
  *('data.builders', 'exports.real_images', 'models.fold', 'weights.full_size', 'wheel'),
)
FLOOR = {room: i for i, line in enumerate(PLAN.strip().splitlines()) for room in line.split()}


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


def room_of(name: str) -> str:
  first = name.partition('.')[0]
  return first if first in FLOOR else 'doors'


def test_imports_only_go_down():
  known = modules()
  assert set(FLOOR) == {room_of(name) for name in known}, 'a room that is not there'
  folders = {name.partition('.')[0] for name in known if '.' in name}
  assert folders <= FLOOR.keys(), 'a folder without a place in the plan'
  for name, path in known.items():
    for other in imports_of(path) & known.keys() - {name}:
      here, there = room_of(name), room_of(other)
      assert here == there or FLOOR[there] > FLOOR[here], f'{name} imports {other}'


def test_the_network_knows_nothing_of_data():
  for name, path in modules().items():
    if room_of(name) in ('models', 'ops'):
      assert not {i for i in imports_of(path) if i.partition('.')[0] == 'data'}, name


def test_doors_do_not_open_onto_doors():
  doors = {name for name in modules() if room_of(name) == 'doors'} - {'cli', 'predictor'}
  for name in doors - {'__init__', '__main__'}:
    assert not imports_of(PACKAGE / f'{name}.py') & doors, name


def test_only_doors_and_the_config_room_see_a_config():
  for name, path in modules().items():
    if room_of(name) not in ('doors', 'config'):
      assert 'ml_collections' not in imports_of(path), name


def test_configs_import_nothing_from_the_package():
  for path in (tiny.ROOT / 'configs').glob('*.py'):
    assert 'pspnet_jax' not in path.read_text().replace('-m pspnet_jax', ''), path


def test_files_stay_short():
  for name, path in modules().items():
    assert len(path.read_text().splitlines()) <= 300, name


def test_the_tests_of_a_module_are_found_by_its_name():
  tests = tiny.ROOT / 'tests'
  for name in modules():
    if name.endswith('__init__') or name.startswith('data.builders.'):  # all in test_builders
      continue
    *rooms, last = name.split('.')
    path = '/'.join([*rooms, f'test_{last}'])
    where = path if (tests / f'{path}.py').is_file() else TESTED_IN.get(name, path)
    assert (tests / f'{where}.py').is_file(), f'{name} has no tests: write tests/{path}.py'
  known = modules()
  for path in tests.rglob('test_*.py'):
    name = '.'.join(path.relative_to(tests).with_suffix('').parts).replace('test_', '')
    assert name in known or name in OF_NO_MODULE, f'{path} is named after no module'


def test_links_in_the_documents_lead_somewhere():
  pages = [*tiny.ROOT.glob('*.md'), *(tiny.ROOT / 'docs').rglob('*.md')]
  pages = [page for page in pages if '_build' not in page.parts]  # the site, where it was built
  for page in pages:
    for link in re.findall(r'\]\(([^)#]+)', page.read_text()):
      assert link.startswith('http') or (page.parent / link).exists(), f'{page} links {link}'


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
