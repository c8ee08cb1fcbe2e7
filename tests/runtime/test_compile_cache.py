import os
import subprocess
import sys

import pytest

from pspnet_jax import cli
from pspnet_jax.runtime import compile_cache
from tests import tiny

PROGRAM = """
import sys
from pspnet_jax.runtime import compile_cache
compile_cache.enable()
import jax, jax.numpy as jnp
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rsplit('/', 1)[1]))
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).block_until_ready()
print('hits', events.count('cache_hits'), 'misses', events.count('cache_misses'))
"""


def start(home, **environment):
  """Compiles a program in a process of its own; how often it was found and not found."""
  env = {k: v for k, v in os.environ.items() if not k.startswith(('JAX_', 'XDG_', 'XLA_'))}
  result = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=env | {'HOME': str(home), 'JAX_PLATFORMS': 'cpu', **environment},
    check=True,
  )
  assert not result.stderr
  _, hits, _, misses = result.stdout.split()
  return int(hits), int(misses)


def test_the_second_start_compiles_nothing(tmp_path):
  hits, misses = start(tmp_path)
  assert hits == 0 and misses > 0
  assert start(tmp_path) == (misses, 0)
  folder = tmp_path / '.cache' / 'pspnet_jax' / 'compiled'
  assert list(folder.iterdir()) and folder.stat().st_mode & 0o77 == 0


def test_jax_s_own_switches_go_first(tmp_path):
  elsewhere = tmp_path / 'elsewhere'
  start(tmp_path, JAX_COMPILATION_CACHE_DIR=str(elsewhere))
  assert list(elsewhere.iterdir())
  assert start(tmp_path, JAX_ENABLE_COMPILATION_CACHE='0') == (0, 0)
  assert not (tmp_path / '.cache').exists()


def test_a_home_that_cannot_be_written_to_costs_nothing_else(tmp_path):
  (tmp_path / '.cache').write_text('a file where the folder should be')
  assert start(tmp_path) == (0, 0)


def do_nothing():
  """The `main` of a command."""


def test_commands_switch_it_on(monkeypatch):
  called = []
  monkeypatch.setattr(compile_cache, 'enable', lambda: called.append(1))
  monkeypatch.setattr(sys, 'argv', ['command'])
  monkeypatch.setattr(sys.modules[__name__], 'define_flags', lambda: None, raising=False)
  with pytest.raises(SystemExit):
    cli.run(do_nothing)
  assert called


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """Where the cache of this process would be."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(compile_cache, 'jax', FakeJax())
  return tmp_path / 'pspnet_jax' / 'compiled'


class FakeJax:
  """The two settings, without the rest."""

  def __init__(self):
    self.config = self
    self.values = {'jax_compilation_cache_dir': None, 'jax_enable_compilation_cache': True}

  def update(self, name, value):
    self.values[name] = value

  @property
  def folder(self):
    return self.values['jax_compilation_cache_dir']


def test_what_is_made_is_the_users_alone_whatever_the_umask(cache):
  before = os.umask(0)
  try:
    compile_cache.enable()
  finally:
    os.umask(before)
  assert compile_cache.jax.folder == str(cache)
  for folder in (cache, cache.parent):
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize('mode', [0o777, 0o770, 0o1777])
@pytest.mark.parametrize('which', ['folder', 'parent', 'link'])
def test_a_folder_that_others_may_write_to_is_not_used(cache, tmp_path, capsys, which, mode):
  open_to_all = {'folder': cache, 'parent': cache.parent, 'link': tmp_path / 'elsewhere'}[which]
  cache.parent.mkdir()
  if which == 'link':
    cache.symlink_to(open_to_all)
    open_to_all.mkdir()
  else:
    cache.mkdir()
  open_to_all.chmod(mode)
  compile_cache.enable()
  assert compile_cache.jax.folder is None
  assert f'others may write to {open_to_all}' in capsys.readouterr().err
  open_to_all.chmod(0o755)
  compile_cache.enable()
  assert compile_cache.jax.folder == str(cache)


def test_a_folder_of_another_user_is_not_used(cache, monkeypatch, capsys):
  monkeypatch.setattr(compile_cache.os, 'geteuid', lambda: 4711)
  compile_cache.enable()
  assert compile_cache.jax.folder is None and 'belongs to another user' in capsys.readouterr().err
