"""Lines and times for a person, and tables."""

import io
import math

import pytest
from rich.console import Console

from pspnet_jax.reporting.console import format_duration, format_line, print_table, say


def plain_console() -> tuple[Console, io.StringIO]:
  out = io.StringIO()
  return Console(file=out), out


def test_lines_align():
  short = format_line(5, 12_000, {'loss': 12.5, 'mIoU': 0.0512}).plain
  long = format_line(11_000, 12_000, {'mIoU': 1.0, 'loss': math.nan}).plain
  assert short == 'step     5/12000  loss 12.5000  mIoU  5.12%'
  assert long == 'step 11000/12000  loss     nan  mIoU 100.00%'


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
