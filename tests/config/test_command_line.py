"""The command line taken apart: flags, settings and words, each known and given once."""

import pytest
from absl import flags

from pspnet_jax.config import command_line
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import UserError

OWN = ('workdir', 'overlays', 'num')


@pytest.fixture
def known():
  values = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', flag_values=values)
  flags.DEFINE_bool('overlays', True, '', flag_values=values)
  flags.DEFINE_integer('num', None, '', short_name='n', flag_values=values)
  return values


def read(known, line, config=None):
  return command_line.read(line.split(), OWN, known, config)


def test_all_ways_to_write_a_flag_are_understood(known):
  given = read(known, '--workdir /tmp/x -num=3 --nooverlays word --config=a.py', defaults())
  assert given.flags == ['--workdir=/tmp/x', '-num=3', '--nooverlays']
  assert given.words == ['word'] and not given.settings
  given = read(
    known, '--config.batch_size 4 --config.model.remat --noconfig.model.aux_head', defaults()
  )
  assert given.settings == {'batch_size': 4, 'model.remat': True, 'model.aux_head': False}
  assert read(known, '--overlays -- --workdir -').words == ['--workdir', '-']
  assert read(known, '--num -3').flags == ['--num=-3']


@pytest.mark.parametrize(
  'line',
  [
    *('--workdir=a --workdir=b', '--workdir=a --workdir=a', '--overlays --nooverlays'),
    *('--num=1 -n=2', '--config=a --config=b', '--config.seed=1 --config.seed=2'),
    '--config.model.remat --noconfig.model.remat',
  ],
)
def test_what_is_given_twice_is_refused(known, line):
  with pytest.raises(UserError, match='is given twice: give it once'):
    read(known, line, defaults())


@pytest.mark.parametrize(
  ('line', 'hint'),
  [
    ('--batch_size=3', r'did you mean --config\.batch_size=3\?'),
    ('--lr=0.1', r'did you mean --config\.optimizer\.base_lr=0\.1\?'),
    ('--optimizer.base_lr=0.1', r'did you mean --config\.optimizer\.base_lr=0\.1\?'),
    ('--work=x', r'did you mean --workdir\?'),
    ('--wrkdir=x', r'did you mean --workdir\?'),
    ('--confg=x', r'did you mean --config\?'),
    ('--config.batchsize=3', r'did you mean --config\.batch_size=3\?'),
    ('--batchsize=3', r'did you mean --config\.batch_size=3\?'),
    ('--qqqqqqqqqqq', r'see --help\.'),
  ],
)
def test_what_does_not_exist_is_answered_with_the_nearest(known, line, hint):
  with pytest.raises(UserError, match=hint):
    read(known, line, defaults())


def test_a_command_without_settings_suggests_none(known):
  with pytest.raises(UserError, match=r'there is no flag --batch_size: see --help\.'):
    read(known, '--batch_size=3')
  with pytest.raises(UserError, match=r'there is no flag --config\.seed: see --help\.'):
    read(known, '--config.seed=3')


@pytest.mark.parametrize('line', ['--workdir', '--workdir --overlays', '--config', '--config.seed'])
def test_a_missing_value_is_named(known, line):
  with pytest.raises(UserError, match=r'needs a value: write --.*=VALUE'):
    read(known, line, defaults())


def test_a_value_is_found_before_flags_are_known():
  assert command_line.value_of(['a', '--config=x', '--config=y'], 'config') == 'x'
  assert command_line.value_of(['-config', 'x'], 'config') == 'x'
  assert command_line.value_of(['--config.seed=1'], 'config') is None
  with pytest.raises(UserError, match='--config needs a value'):
    command_line.value_of(['--config', '--workdir=x'], 'config')
