"""Lines and times for a person, and tables."""

import io
import logging
import math
import re

import pytest
from rich.console import Console
from rich.text import Text

from pspnet_jax.reporting.console import (
  format_duration,
  format_left,
  format_line,
  log_records_on,
  print_table,
  say,
)


def plain_console() -> tuple[Console, io.StringIO]:
  out = io.StringIO()
  return Console(file=out), out


def test_lines_align():
  short = format_line(5, 12_000, {'loss': 12.5, 'mIoU': 0.0512}).plain
  long = format_line(11_000, 12_000, {'mIoU': 1.0, 'loss': math.nan}).plain
  assert short == 'step     5/12000  loss 12.5000  mIoU  5.12%'
  assert long == 'step 11000/12000  loss     nan  mIoU 100.00%'


TRAINING = {
  'train/loss': 12.5,
  'train/mIoU': 0.4512,
  'images_per_second': 1234.5,
  'learning_rate': 9e-3,
  'train/skipped_examples': 123,
}
EVALUATION = {'val/loss': 12.5, 'val/mIoU': 1.0, 'val/mAcc': 1.0, 'val/aAcc': 1.0}


@pytest.mark.parametrize('total', [10**n for n in range(1, 8)])
def test_lines_fit_80_columns_whatever_the_number_of_steps(total):
  for left in ('', '0:07', format_left(3.2e6)):
    for known in (4, 5):
      values = dict([*TRAINING.items()][:known])
      line = format_line(total, total, values, left)
      assert line.cell_len <= 80
      for word in ('loss 12.5000', 'mIoU 45.12%', '1234.5 im', 'g', '/s', 'lr 9.00e-03'):
        assert word in line.plain
      assert ('left' in line.plain) == bool(left and known == 4)
      assert ('skipped 123' in line.plain) == (known == 5)
    line = format_line(total, total, EVALUATION, left)
    assert line.cell_len <= 80 and 'val loss 12.5000' in line.plain
    assert line.plain.count('100.00%') == 3 and '...' not in line.plain


def test_lines_of_a_run_align_when_they_are_shortened():
  values = dict([*TRAINING.items()][:4])
  lines = [format_line(s, 12_000, values, left) for s, left in ((5, '0:07'), (11_000, '12.1 d'))]
  assert [line.plain for line in lines] == [
    'step     5  loss 12.5000  mIoU 45.12%  1234.5 images/s  lr 9.00e-03  left 0:07',
    'step 11000  loss 12.5000  mIoU 45.12%  1234.5 images/s  lr 9.00e-03  left 12.1 d',
  ]


@pytest.mark.parametrize('width', range(20, 140, 7))
def test_what_does_not_fit_a_width_is_told_by_dots(width):
  values = {**TRAINING, '図面/正確さ': 0.5, 'mine': 2.0}
  line = format_line(50, 12_000, values, '0:07', width=width)
  assert line.cell_len <= width
  assert line.plain.endswith('  ...') or 'mine 2' in line.plain


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(7.4, '0:07'), (3599, '59:59'), (3599.7, '1.0 h'), (18069, '5.0 h'), (86390, '1.0 d')],
)
def test_times_left_are_short(seconds, text):
  assert format_left(seconds) == text


@pytest.mark.parametrize('width', [40, 80, 120])
def test_a_terminal_gets_sentences_broken_between_words_and_commands_whole(width):
  out = io.StringIO()
  console = Console(file=out, force_terminal=True, width=width, color_system=None)
  sentence = 'PSPNet-50 [red] of /a/' + 'long' * 30 + ' is trained, ' + 'with many words ' * 12
  say(console, sentence)
  say(console, '  pspnet predict --workdir=' + 'long/' * 40)
  *lines, command = out.getvalue().splitlines()
  assert command == '  pspnet predict --workdir=' + 'long/' * 40
  assert ' '.join(line.strip() for line in lines) == sentence.strip()
  assert all(len(line.rstrip()) <= width or '/a/long' in line for line in lines)


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(7.4, '0:07'), (59.6, '1:00'), (192, '3:12'), (18069, '5:01:09'), (183_600, '2 d 03:00')],
)
def test_durations(seconds, text):
  assert format_duration(seconds) == text


def test_what_is_said_is_printed_as_it_is():
  console, out = plain_console()
  say(console, 'data/[bold]a[/] 12:30 ' + 'long ' * 60)
  assert out.getvalue() == 'data/[bold]a[/] 12:30 ' + 'long ' * 60 + '\n'


def test_a_pipe_that_was_closed_is_nobodys_error():
  class BrokenPipe(io.StringIO):
    def write(self, _):
      raise BrokenPipeError

  say(Console(file=BrokenPipe()), 'hello')
  print_table(Console(file=BrokenPipe()), ['a'], [[1.0]])


def test_cells_are_aligned_by_what_they_are():
  console, out = plain_console()
  print_table(console, ['class', 'IoU'], [['road', 0.5], ['sky', None], ['[red]', math.nan]])
  lines = out.getvalue().splitlines()[2:]
  assert lines == [' road  │ 0.50 ', ' sky   │    - ', ' [red] │    - ']


@pytest.mark.parametrize('terminal', [False, True])
def test_nothing_that_is_shown_acts(terminal):
  out = io.StringIO()
  console = Console(file=out, force_terminal=terminal, width=200)
  name = '\x1b]0;owned\x07:car: [red]\u202e\n|'
  plain = r'\x1b]0;owned\x07:car: [red]\u202e\n|'
  say(console, f'/tmp/{name}')
  print_table(console, [name], [[name]], title=name, footer=[name])
  with log_records_on(console):
    logging.getLogger('pspnet_jax.test').warning('left out: %s', name)
  say(console, format_line(1, 2, {f'x/{name}': 1.0}))
  text = re.sub('\x1b\\[[0-9;]*m', '', out.getvalue())  # colours
  assert text.count(plain) == 7
  assert '\x1b' not in text and '\u202e' not in text and '\x07' not in text


@pytest.mark.parametrize('encoding', ['ascii', 'cp1252', 'utf-8'])
def test_a_line_that_the_stream_cannot_encode_swallows_no_other(encoding):
  raw = io.BytesIO()
  console = Console(file=io.TextIOWrapper(raw, encoding))  # strict
  say(console, '東京 caf\udce9.jpg')
  print_table(console, ['名'], [['東京 \udce9']])
  say(console, Text('東京'))
  say(console, '1 error(s)')
  lines = raw.getvalue().decode(encoding).splitlines()
  assert lines[0] == ('東京' if encoding == 'utf-8' else r'\u6771\u4eac') + r' caf\udce9.jpg'
  assert r'\udce9' in lines[3] and lines[-1] == '1 error(s)'


def test_a_stream_that_failed_once_prints_what_comes_later():
  class FullForAWhile(io.StringIO):
    full = True

    def write(self, text):
      if self.full:
        raise OSError(28, 'No space left on device')
      return super().write(text)

  file = FullForAWhile()
  say(Console(file=file), 'lost')
  console = Console(file=file)
  say(console, 'lost')
  file.full = False
  say(console, 'kept')
  assert file.getvalue() == 'kept\n'


def test_the_traceback_of_a_record_keeps_its_lines():
  console, out = plain_console()
  with log_records_on(console):
    try:
      raise OSError('\x1b[2J')
    except OSError:
      logging.getLogger('pspnet_jax.test').exception('it failed')
  lines = out.getvalue().splitlines()
  assert lines[0].endswith('it failed') and lines[1].startswith('Traceback')
  assert lines[-1] == r'OSError: \x1b[2J'
