"""The command line taken apart: flags, settings and words, each known and given once."""

import contextlib

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.config import checks, command_line, overrides
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import UserError
from tests.mutations import ends_well, fuzz

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


WORDS = st.sampled_from(
  [f'config.{path}' for path, _ in overrides.paths(defaults())]
  + ['config', 'config.model', 'config.data.val', 'workdir', 'overlays', 'num', 'n', 'flagfile']
)
VALUES = st.text(max_size=12) | st.sampled_from(
  (
    '1',
    '-1',
    '1e400',
    'nan',
    '1,2',
    '(1,',
    "('a',",
    '{}',
    '[[1]]',
    'None',
    'True',
    '~',
    'a:B',
    '9' * 5000,
  )
)
ARGUMENTS = st.builds(
  lambda dashes, no, name, equals, value: f'{dashes}{no}{name}{equals}{value}',
  st.sampled_from(('--', '-', '')),
  st.sampled_from(('', '', '', 'no')),
  WORDS | st.text(max_size=8),
  st.sampled_from(('=', '=', '=', '', ' ')),
  VALUES,
)


@fuzz
@given(line=st.lists(ARGUMENTS | VALUES, max_size=4))
def test_a_line_of_nonsense_ends_in_a_sentence(line):
  known = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', flag_values=known)
  flags.DEFINE_bool('overlays', True, '', flag_values=known)
  flags.DEFINE_integer('num', None, '', short_name='n', flag_values=known)

  def understand():
    config = defaults()
    for name in ('config', 'workdir', 'config.model.name'):
      command_line.value_of(line, name)
    given = command_line.read(line, OWN, known, config)
    for key in ('config', 'workdir'):  # the one that is read early is the one that is used
      assert command_line.value_of(line, key) is None or sum(key in x for x in line)
    checks.check_values(config)
    checks.check_training(config)
    with contextlib.suppress(flags.Error):
      known(['x', *given.flags])

  ends_well(understand)


@pytest.mark.parametrize('line', ['--a\nb=1', '--config.a\nb=1', '--config.seed=1\n2'])
def test_what_was_typed_is_echoed_in_one_line(known, line):
  with pytest.raises(UserError) as raised:
    command_line.read([line], OWN, known, defaults())
  assert '\n' not in str(raised.value) and r'\n' in str(raised.value)


@pytest.mark.parametrize(
  'line',
  [
    *('--config=a -config b', '-config a --config b', '--workdir a -workdir=b'),
    *('--config.seed 1 -config.seed=2', '-config.data.name=folder --config.data.name folder'),
  ],
)
def test_every_spelling_counts_as_given(known, line):
  for arguments in (line.split(), line.split()[::-1] if ' -' not in line else line.split()):
    with pytest.raises(UserError, match='is given twice: give it once'):
      command_line.read(arguments, OWN, known, defaults())


def test_what_begins_with_a_dash_is_no_value(known):
  for line in ('--workdir -config=b', '--workdir -overlays', '--config -workdir=x'):
    with pytest.raises(UserError, match='needs a value'):
      read(known, line, defaults())
  assert read(known, '--workdir=-x').flags == ['--workdir=-x']
  assert command_line.value_of(['--', '--config=x'], 'config') is None


def test_a_value_is_found_before_flags_are_known():
  assert command_line.value_of(['a', '--config=x', '--config=y'], 'config') == 'x'
  assert command_line.value_of(['-config', 'x'], 'config') == 'x'
  assert command_line.value_of(['--config.seed=1'], 'config') is None
  with pytest.raises(UserError, match='--config needs a value'):
    command_line.value_of(['--config', '--workdir=x'], 'config')
