"""Config files in Python: where they are found, what they import, what they raise."""

import sys

import pytest

from pspnet_jax.config import python_file
from pspnet_jax.errors import UserError

HEAD = 'import ml_collections\n\ndef get_config(*arguments):\n'
BODY = f'{HEAD}  return ml_collections.ConfigDict({{"init_from": "".join(arguments)}})\n'


@pytest.mark.parametrize('name', ['run_10:30/config.py', 'C:\\proj\\folder.py', 'a:b.py'])
def test_a_colon_may_stand_in_the_path(name, tmp_path):
  path = tmp_path / name
  path.parent.mkdir(exist_ok=True)
  path.write_text(BODY)
  assert python_file.call(str(path))[0].init_from == ''
  assert python_file.call(f'{path}:x')[0].init_from == 'x'
  assert python_file.call(f'{path}:x:y')[0].init_from == 'x:y'


@pytest.mark.parametrize(
  ('text', 'named'),
  [
    ('C:\\proj\\folder.py', 'C:\\proj\\folder.py'),
    ('run_10:30/config.py', 'run_10:30/config.py'),
    ('zzz.py:101', 'zzz.py'),
    ('x' * 5000, 'x' * 5000),
    ('\0', '\0'),
  ],
)
def test_what_is_not_there_is_named_whole(text, named):
  with pytest.raises(UserError) as caught:
    python_file.call(text)
  assert str(caught.value).startswith(f'there is no config file {named}: ')
  with pytest.raises(UserError, match=r'--config is empty'):
    python_file.call('')


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'c.py').write_text(BODY)
  assert python_file.call('~/c.py:x')[0].init_from == 'x'


def test_siblings_are_imported_from_anywhere_and_forgotten(tmp_path, monkeypatch):
  for name in ('one', 'two'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'base_tiny.py').write_text(BODY.replace('""', f'"{name}"', 1))
    (tmp_path / name / 'child.py').write_text(
      'import base_tiny\n\ndef get_config():\n  from base_tiny import get_config\n'
      '  return get_config("", "")\n'
    )
  monkeypatch.chdir(tmp_path / 'one')
  monkeypatch.syspath_prepend(str(tmp_path / 'one'))
  path, modules = list(sys.path), dict(sys.modules)
  for name in ('one', 'two', 'one'):
    assert python_file.call(str(tmp_path / name / 'child.py'))[0].init_from == name
  assert sys.path == path and sys.modules == modules
  import base_tiny

  assert python_file.call(str(tmp_path / 'two' / 'child.py'))[0].init_from == 'two'
  assert sys.modules['base_tiny'] is base_tiny
  del sys.modules['base_tiny']


@pytest.mark.parametrize(
  ('text', 'says'),
  [
    ('def get_config(:', 'SyntaxError: .* (c.py, line 1)'),
    ('x = "\0"', 'SyntaxError|ValueError'),
    ('\n1 / 0', 'ZeroDivisionError: division by zero (c.py, line 2)'),
    ('import sys\nsys.exit()', 'SystemExit (c.py, line 2)'),
    ('import sys\nsys.exit("a\\nb")', 'SystemExit: a b (c.py, line 2)'),
    ('import child', 'ZeroDivisionError: division by zero (child.py, line 3)'),
    ('import nowhere_', "ModuleNotFoundError: No module named 'nowhere_' (c.py, line 1)"),
    ('raise GeneratorExit', 'GeneratorExit (c.py, line 1)'),
    ('def get_config():\n  return get_config()', 'RecursionError: .* (c.py, line 2)'),
    ('def get_config(a, b):\n  pass', 'TypeError: .*missing 2 required'),
    ('get_config = 5', 'TypeError'),
    ('x = 1', "AttributeError: module 'config' has no attribute 'get_config'."),
    ('raise ValueError("x" * 10_000)', 'x{290}'),
    ('def get_config():\n  return "a\\nb" * 1000', 'returns .{,80}: return a ConfigDict'),
  ],
)
def test_whatever_it_raises_is_one_sentence_with_its_place(text, says, tmp_path):
  (tmp_path / 'c.py').write_text(text)
  (tmp_path / 'child.py').write_text('\n\n1 / 0')
  says = says.replace('(', r'\(').replace(')', r'\)')
  with pytest.raises(UserError, match=says) as caught:
    python_file.call(str(tmp_path / 'c.py'))
  assert '\n' not in str(caught.value) and len(str(caught.value)) < 600


def test_ctrl_c_is_not_an_error_of_the_file(tmp_path):
  (tmp_path / 'c.py').write_text('raise KeyboardInterrupt')
  with pytest.raises(KeyboardInterrupt):
    python_file.call(str(tmp_path / 'c.py'))


def test_an_argument_that_it_does_not_take_is_refused(tmp_path):
  (tmp_path / 'c.py').write_text(BODY.replace('*arguments', '').replace('arguments', '()'))
  with pytest.raises(UserError, match=r'c\.py takes no argument: leave out :x\.'):
    python_file.call(f'{tmp_path / "c.py"}:x')


ROWS = 'ROWS = {"r50": {}, "r101": {}, "r50-long": {}}\n'


@pytest.mark.parametrize(
  ('argument', 'says'),
  [
    (':r5', r"has no row 'r5': give one of r50, r50-long, r101\."),
    (':', r'needs a row behind a colon: give one of r50, r101, r50-long\.'),
    ('', r'needs a row behind a colon: give one of r50'),
  ],
)
def test_a_row_that_is_not_there_is_named_with_those_that_are(argument, says, tmp_path):
  (tmp_path / 'c.py').write_text(ROWS + BODY.replace('*arguments', 'arguments'))
  with pytest.raises(UserError, match=says):
    python_file.call(f'{tmp_path / "c.py"}{argument}')
  assert python_file.call(f'{tmp_path / "c.py"}:r101')[0].init_from == 'r101'


def test_a_file_of_rows_may_have_one_that_is_meant_without_argument(tmp_path):
  (tmp_path / 'c.py').write_text(ROWS + BODY.replace('*arguments', 'arguments="r50"'))
  assert python_file.call(str(tmp_path / 'c.py'))[0].init_from == 'r50'
  with pytest.raises(UserError, match=r"no row 'x'"):
    python_file.call(f'{tmp_path / "c.py"}:x')
