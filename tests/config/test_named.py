"""Code of one's own by its name: found, or said in a sentence why not."""

import os
import sys

import pytest
from flax import nnx

from pspnet_jax.config import named
from pspnet_jax.errors import UserError

KEY = 'config.model.name'


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The current folder; what is imported from it is forgotten afterwards."""
  before = set(sys.modules)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [p for p in sys.path if p not in ('', os.getcwd())])
  yield tmp_path
  for name in set(sys.modules) - before:
    if name.startswith('ours_'):
      del sys.modules[name]


def write(folder, name, text):
  (folder / f'{name}.py').write_text(text)


def test_own_names_have_a_colon():
  assert named.is_own('a:B') and named.is_own('?a.b:C') and not named.is_own('pspnet')


def test_a_module_is_found_in_the_current_folder_and_in_packages_there(folder):
  write(folder, 'ours_flat', 'class Net: pass')
  (folder / 'ours_package').mkdir()
  write(folder / 'ours_package', 'deep', 'def make(): return 5')
  net = named.find('ours_flat:Net', KEY)
  assert named.name_of(net) == 'ours_flat:Net'
  assert named.find_callable('ours_package.deep:make', KEY)() == 5


def test_the_current_folder_hides_nothing(folder):
  write(folder, 'json', 'class JSONDecoder: ours = True')
  assert not hasattr(named.find('json:JSONDecoder', KEY), 'ours')
  assert sys.path[-1] == str(folder)


@pytest.mark.parametrize(
  ('name', 'says'),
  [
    ('ours_gone:Net', 'there is no module ours_gone: install it, or start the command in the fo'),
    ('ours_package.gone:Net', 'there is no module ours_package.gone: install it'),
    ('ours_flat:Nett', r'ours_flat \(.*ours_flat\.py\) has no Nett: did you mean Net\?'),
    ('ours_flat:Qqqqq', 'has no Qqqqq: name what the module defines'),
    ('ours_raises:Net', 'importing ours_raises fails with ZeroDivisionError: division by zero'),
    ('ours_exits:Net', 'importing ours_exits fails with SystemExit: 3'),
    ('ours_imports:Net', 'importing ours_imports fails with ModuleNotFoundError: No module named '),
    ('ours_syntax:Net', 'importing ours_syntax fails with SyntaxError'),
    ('ours_flat.py:Net', 'is no name: write it as package.module:Name, without folder and .py'),
    ('/tmp/ours_flat:Net', 'is no name'),
    ('..ours_flat:Net', 'is no name'),
    (':Net', 'is no name'),
    ('ours_flat:', 'is no name'),
    ('ours_flat:Net.inner', 'is no name'),
    ('ours_flat', 'is no name'),
    (
      '?ours_flat:Net',
      'the run used ours_flat:Net, which is imported only if you name it: give --',
    ),
  ],
)
def test_what_cannot_be_found_is_said_in_a_sentence(folder, name, says):
  write(folder, 'ours_flat', 'class Net: pass')
  write(folder, 'ours_raises', '1 / 0')
  write(folder, 'ours_exits', 'import sys; sys.exit(3)')
  write(folder, 'ours_imports', 'import ours_gone')
  write(folder, 'ours_syntax', 'class Net pass')
  (folder / 'ours_package').mkdir()
  with pytest.raises(UserError, match=says) as caught:
    named.find(name, KEY)
  assert KEY in str(caught.value) and '\n' not in str(caught.value)
  if name.startswith('?'):
    assert 'ours_flat' not in sys.modules


def test_what_cannot_be_called_is_refused(folder):
  write(folder, 'ours_values', 'Net = 5')
  with pytest.raises(UserError, match='ours_values:Net is 5: name a class or a function'):
    named.find_callable('ours_values:Net', KEY)


def test_a_network_is_a_class_of_nnx_modules(folder):
  write(
    folder,
    'ours_networks',
    'from flax import nnx\nclass Net(nnx.Module): pass\nnet = Net()\ndef make(): return Net()\n'
    'class Other: pass',
  )
  assert issubclass(named.find_network('ours_networks:Net', KEY), nnx.Module)
  for name in ('net', 'make', 'Other'):
    with pytest.raises(UserError, match=r', no network: name a class of nnx\.Module'):
      named.find_network(f'ours_networks:{name}', KEY)
