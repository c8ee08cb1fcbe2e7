"""The notebooks run from top to bottom, and lie in git as somebody would write them."""

import json
import re

import pytest

from tests import tiny

NOTEBOOKS = sorted((tiny.ROOT / 'notebooks').glob('*.ipynb'))
# What takes time, by the name of the constant that says how much of it.
SMALL = {'STEPS': '2', 'SEEDS': '(0,)', 'SIZE': '(49, 97)'}


def sources(notebook: dict) -> list[str]:
  return [''.join(cell['source']) for cell in notebook['cells'] if cell['cell_type'] == 'code']


def test_there_are_four():
  names = {path.stem for path in NOTEBOOKS}
  assert names == {'quickstart', 'your_own_images', 'research_extension', 'distillation'}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_holds_no_outputs_and_no_traces_of_a_machine(path):
  notebook = json.loads(path.read_text())
  for cell in notebook['cells']:
    assert re.fullmatch('[a-z-]+', cell['id']), 'an id that changes whenever it is saved'
    if cell['cell_type'] == 'code':
      assert cell['outputs'] == [] and cell['execution_count'] is None, cell['id']
    assert cell['metadata'] == {}, cell['id']
  assert notebook['metadata'] == {
    'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'},
    'language_info': {'name': 'python'},
  }


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_only_what_has_a_public_name(path):
  for source in sources(json.loads(path.read_text())):
    assert not re.search(r'pspnet_jax\S* import .*\b_\w|\b(?!self)\w+\._[a-z]', source), source


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_ends_in_a_picture(path, tmp_path):
  nbclient = pytest.importorskip('nbclient')
  nbformat = pytest.importorskip('nbformat')
  notebook = nbformat.read(path, as_version=4)
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert re.search('^STEPS = ', cells[0].source, re.MULTILINE)
  for name, value in SMALL.items():
    pattern = re.compile(f'^{name} = [^#\n]*', re.MULTILINE)
    cells[0].source = pattern.sub(f'{name} = {value}', cells[0].source)
  home = tmp_path / 'home'
  home.mkdir()
  environment = tiny.environment() | {
    'PYTHONPATH': str(tiny.ROOT),
    'IPYTHONDIR': str(home),
    'TMPDIR': str(tmp_path),
    'JAX_ENABLE_COMPILATION_CACHE': '0',
  }
  folder = tmp_path / 'here'
  folder.mkdir()
  client = nbclient.NotebookClient(
    notebook, timeout=300, kernel_name='python3', resources={'metadata': {'path': str(folder)}}
  )
  client.execute(env=environment)
  assert list(folder.iterdir()) == [], 'a notebook leaves nothing where it was started'
  pictures = [output for output in cells[-1].outputs if 'image/png' in output.get('data', {})]
  assert len(pictures) == 1
  assert len(pictures[0]['data']['image/png']) > 20_000, 'an empty picture'
