"""Standard streams that are closed, full, or of another encoding."""

import subprocess
import sys

import pytest

from tests import tiny

PROGRAM = """
from pspnet_jax import cli
from pspnet_jax.errors import UserError
from pspnet_jax.reporting.reporter import Reporter

def define_flags():
  pass

def main():
  with Reporter(None, total_steps=1) as report:
    report.say('first \\u6771\\u4eac')
    report.table(['class'], [['\\u6771\\u4eac']])
    report.say('last')
  with open('written', 'w') as file:  # takes the lowest descriptor that is free
    report.say('more')
  {end}

cli.run(main)
"""


def run(tmp_path, redirect, end='', **environment):
  (tmp_path / 'program.py').write_text(PROGRAM.format(end=end))
  result = subprocess.run(
    ['bash', '-c', f'{sys.executable} program.py {redirect}'],
    capture_output=True,
    cwd=tmp_path,
    env=tiny.environment() | {'PYTHONPATH': str(tiny.ROOT), **environment},
    check=False,
  )
  assert (tmp_path / 'written').read_bytes() == b''
  return result.returncode, result.stdout.decode(), result.stderr.decode()


CLOSED = '<&- >&-'
UNREAD = '| true; exit ${PIPESTATUS[0]}'


@pytest.mark.parametrize('redirect', [CLOSED, UNREAD])
def test_output_that_nobody_takes_changes_no_status(tmp_path, redirect):
  assert run(tmp_path, redirect) == (0, '', '')


@pytest.mark.parametrize('redirect', [CLOSED, UNREAD, '>/dev/full'])
def test_the_error_is_said_whatever_happens_to_the_output(tmp_path, redirect):
  result = run(tmp_path, redirect, "raise UserError('no such thing: name another.')")
  assert result == (1, '', 'Error: no such thing: name another.\n')


@pytest.mark.parametrize('redirect', ['2>&-'])
def test_an_error_that_cannot_be_said_is_in_the_status(tmp_path, redirect):
  status, out, _ = run(tmp_path, redirect, "raise UserError('no such thing: name another.')")
  assert status == 1 and out.splitlines()[-1] == 'more'


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8:strict'])
def test_what_the_encoding_lacks_is_escaped(tmp_path, encoding):
  end = "raise UserError('caf\\udce9 \\u6771\\x1b[2J\\n.')"
  status, out, err = run(tmp_path, '', end, PYTHONIOENCODING=encoding)
  east = '東京' if encoding.startswith('utf') else r'\u6771\u4eac'
  assert status == 1 and err == rf'Error: caf\udce9 {east[: len(east) // 2]}\x1b[2J\n.' + '\n'
  lines = out.splitlines()
  assert lines[0] == f'first {east}' and east in lines[3] and lines[-2:] == ['last', 'more']


def test_help_may_be_read_in_part(tmp_path):
  result = subprocess.run(
    ['bash', '-c', f'{sys.executable} -m pspnet_jax --help | true; exit ${{PIPESTATUS[0]}}'],
    capture_output=True,
    cwd=tiny.ROOT,
    check=False,
  )
  assert (result.returncode, result.stderr) == (0, b'')
