"""Flags whose values are paths."""

import importlib.util
from pathlib import Path

import pytest
from absl import flags

from pspnet_jax.config import path_flags


@pytest.fixture
def values(monkeypatch):
  values = flags.FlagValues()
  define = flags.DEFINE
  monkeypatch.setattr(
    flags, 'DEFINE', lambda *args, **options: define(*args, flag_values=values, **options)
  )
  path_flags.define_path('workdir', '~/runs', '')
  path_flags.define_paths('input', '')
  path_flags.define_folders('runs', '')
  monkeypatch.setattr(flags, 'FLAGS', values)
  return values


def test_a_tilde_is_the_home_folder(values, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  values(['x', '--workdir=~/a', '--input=~/a,b', '--runs=x'])
  assert values.workdir == tmp_path / 'a' and values.input == [tmp_path / 'a', Path('b')]


@pytest.mark.parametrize(
  'argument', ['--workdir=', '--input=', '--input=a,', '--runs=', '--runs=a,']
)
def test_an_empty_path_is_refused(values, argument):
  with pytest.raises(flags.IllegalFlagValueError, match='a path is empty'):
    values(['x', '--input=x', '--runs=x', argument])


def test_a_folder_with_a_comma_in_its_name_is_one(values, tmp_path):
  (tmp_path / 'a,b').mkdir()
  values(['x', '--input=x', f'--runs={tmp_path}/a,b'])
  assert values.runs == [tmp_path / 'a,b']
  assert path_flags.first_path('runs', 'a,b') == Path('a')
  assert path_flags.first_path('workdir', 'a,b') == Path('a,b')


def test_an_address_of_the_hub_stands_among_folders(values):
  values(['x', '--input=x', '--runs=hf://a/b@v1,runs/c'])
  assert values.runs == ['hf://a/b@v1', Path('runs/c')]
  assert path_flags.first_path('runs', 'hf://a/b') is None
  with pytest.raises(flags.IllegalFlagValueError, match='is an address'):
    values(['x', '--input=hf://a/b', '--runs=x'])


def test_one_folder_may_be_an_address_of_the_hub(values):
  path_flags.define_folder('network', '')
  others = ['x', '--input=x', '--runs=x']
  values([*others, '--network=hf://a/b@v1'])
  assert values.network == 'hf://a/b@v1'
  assert path_flags.first_path('network', 'hf://a/b') is None
  values([*others, '--network=a,b'])
  assert values.network == path_flags.first_path('network', 'a,b') == Path('a,b')
  with pytest.raises(flags.IllegalFlagValueError, match='is an address'):
    values([*others, '--network=s3://a/b'])


def test_a_workdir_may_be_in_a_bucket_and_other_paths_may_not(values, monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)  # as if gcsfs were there
  path_flags.define_path('there', None, '', in_bucket=True)
  values(['x', '--input=x', '--there=gs://abc/run', '--runs=gs://abc/d,e'])
  assert str(values.there) == str(path_flags.first_path('there', 'gs://abc/run')) == 'gs://abc/run'
  assert [*map(str, values.runs)] == ['gs://abc/d', 'e']
  with pytest.raises(flags.IllegalFlagValueError, match='is an address'):
    values(['x', '--input=x', '--runs=x', '--workdir=gs://abc/run'])
