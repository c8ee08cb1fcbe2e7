"""What a person sees: lines, tables and log records on one rich console."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from absl import logging as absl_logging
from rich.console import Console
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pspnet_jax.runtime import streams
from pspnet_jax.runtime.plain_text import encodable, in_lines, printable, printable_lines

Cell: TypeAlias = str | float | None

# How a value is shown by its name, or its last part: label, format, unit. The order is the line's.
_SHOWN = {
  'val/loss': ('val loss', '7.4f', ''),
  'loss': ('loss', '7.4f', ''),
  'mIoU': ('mIoU', '6.2%', ''),
  'mAcc': ('mAcc', '6.2%', ''),
  'aAcc': ('aAcc', '6.2%', ''),
  'images_per_second': ('', '6.1f', ' images/s'),
  'learning_rate': ('lr', '.2e', ''),
  'skipped_examples': ('skipped', '.0f', ''),
}


_LEFT = len('12.1 d')  # columns of the time left, kept free for a shorter one


class _Console(Console):
  def on_broken_pipe(self) -> None:
    # rich's would end the run, and silence standard output whichever stream it was
    self.quiet = True
    streams.silence(self.file)


def make_console(*, stderr: bool = False) -> Console:
  """A console that nobody need read: once its pipe is closed it is silent."""
  return _Console(stderr=stderr)


def say(console: Console, what: str | Text) -> None:
  """Prints one line; a console that cannot be written to never ends a run.

  Nothing in a plain text acts on the terminal or ends the line (`plain_text.printable`). A terminal
  gets a long sentence in several lines, broken between words; indented text, such as a command to
  be copied, stays whole there, and everything does in a file.
  """
  text = what if isinstance(what, Text) else _shown(console, what)
  if isinstance(text, str) and console.is_terminal and not text.startswith(' '):
    text = in_lines(text, console.width)
  _print(console, text, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _shown(console: Console, text: str) -> str:
  return encodable(printable(text), console.encoding)


def _print(console: Console, what: str | Text | Table, **how: Any) -> None:
  # rich turns a broken pipe into SystemExit
  try:
    console.print(what, **how)
  except (OSError, ValueError, SystemExit):
    # What it could not write it keeps, and would try again with the next line.
    with contextlib.suppress(OSError, ValueError, SystemExit), console.capture():
      pass


def format_line(
  step: int,
  total_steps: int,
  values: Mapping[str, float],
  left: str = '',
  *,
  width: int = 80,
) -> Text:
  """One line about a step: `step  130/2000  loss  0.4321  mIoU 45.12%  ...  left 3:12`.

  Too wide, it goes without the total, then says img/s, then goes without the time left, and at last
  without some values, for which dots stand; logs have them all. Lines of the same values are alike.

  Args:
    step: the step just done.
    total_steps: sets the width of the step.
    values: by name; what stands before the last '/' is not shown. mIoU, mAcc and aAcc are
      fractions and shown in percent. Unknown names come last, as they are.
    left: time left, as text.
    width: columns at most, if there are as many as a step and a value take.
  """
  parts = [_part(name, values[name]) for name in sorted(values, key=_place)]
  number = Text.assemble(('step ', 'dim'), (f'{step:{len(str(total_steps))}d}', 'bold'))
  total = Text(f'/{total_steps}', 'bold')
  end = Text.assemble(('  left ', 'dim'), left.ljust(_LEFT)) if left else Text()

  def too_wide() -> bool:
    return sum(part.cell_len for part in (number, total, *parts, end)) > width

  if too_wide():
    total = Text()
  if too_wide():
    for part in parts:
      if part.plain.endswith(' images/s'):
        part.right_crop(len('ages/s'))
        part.append('g/s', 'dim')
  if too_wide():
    end = Text()
  if too_wide():
    more = Text('  ...', 'dim')
    while len(parts) > 1 and too_wide():
      parts = [*parts[: -2 if parts[-1] is more else -1], more]
  line = Text.assemble(number, total, *parts, end)
  line.rstrip()
  return line


def _place(name: str) -> int:
  known = [n for n in (name, _last(name)) if n in _SHOWN]
  return [*_SHOWN].index(known[0]) if known else len(_SHOWN)


def _last(name: str) -> str:
  return name.rsplit('/', 1)[-1]


def _part(name: str, value: float) -> Text:
  unknown = (printable(_last(name)), '.4g', '')
  label, fmt, unit = _SHOWN.get(name) or _SHOWN.get(_last(name), unknown)
  return Text.assemble(
    (f'  {label} ' if label else '  ', 'dim'),
    (f'{float(value):{fmt}}', '' if math.isfinite(value) else 'bold red'),
    (unit, 'dim'),
  )


def format_left(seconds: float) -> str:
  """Writes a time to wait for in few columns: '0:07', '59:59', '5.0 h' or '12.1 d'."""
  if round(seconds) < 3600:
    return format_duration(seconds)
  hours = seconds / 3600
  return f'{hours:.1f} h' if round(hours, 1) < 24 else f'{hours / 24:.1f} d'


def format_duration(seconds: float) -> str:
  """Writes seconds as '0:07', '3:12', '5:01:09' or '2 d 03:00'."""
  minutes, s = divmod(round(seconds), 60)
  hours, m = divmod(minutes, 60)
  days, h = divmod(hours, 24)
  if days:
    return f'{days} d {h:02d}:{m:02d}'
  return f'{h}:{m:02d}:{s:02d}' if h else f'{m}:{s:02d}'


def print_table(
  console: Console,
  columns: Sequence[str],
  rows: Sequence[Sequence[Cell]],
  *,
  title: str | None = None,
  footer: Sequence[Cell] | None = None,
) -> None:
  """Prints a table, whole and without colours where nobody watches.

  Args:
    console: where to.
    columns: headings.
    rows: one cell a column. Floats are shown with two decimals, None and NaN as a dash; columns
      without text are aligned right.
    title: above the table.
    footer: a last row set apart (the mean, say).

  Raises:
    ValueError: if a row has more or fewer cells than there are columns.
  """
  table = Table(
    title=None if title is None else Text(_shown(console, title), 'table.title'),
    title_justify='left',
    show_edge=False,
    show_footer=footer is not None,
  )
  for row in [*rows, *([footer] if footer is not None else [])]:
    if len(row) != len(columns):
      raise ValueError(f'a row of {len(row)} cells for the {len(columns)} columns {list(columns)}')
  for i, name in enumerate(columns):
    is_text = any(isinstance(row[i], str) for row in rows)
    foot = _cell(console, footer[i]) if footer is not None else ''
    heading = Text(_shown(console, name))
    table.add_column(heading, footer=foot, justify='left' if is_text else 'right', overflow='fold')
  for row in rows:
    table.add_row(*(_cell(console, value) for value in row))
  if not console.is_terminal:  # a log has no width to keep to
    wide = console.options.update(max_width=10_000)
    console.width = max(console.width, Measurement.get(console, wide, table).maximum)
  _print(console, table)


def _cell(console: Console, value: Cell) -> Text:
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return Text('-', 'dim')
  return Text(f'{value:.2f}' if isinstance(value, float) else _shown(console, str(value)))


class _Formatter(logging.Formatter):
  """A record in one line, where its traceback, if it has one, follows."""

  def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
    return printable(super().formatMessage(record))

  def formatException(self, ei: Any) -> str:  # noqa: N802
    return printable_lines(super().formatException(ei))


class _PlainHandler(logging.Handler):
  """Prints records without colours or wrapping."""

  def __init__(self, console: Console):
    super().__init__()
    self._console = console
    self.setFormatter(_Formatter('%(levelname)s %(name)s: %(message)s'))

  def emit(self, record: logging.LogRecord) -> None:
    for line in self.format(record).split('\n'):
      say(self._console, line)


@contextlib.contextmanager
def log_records_on(console: Console) -> Iterator[None]:
  """Shows log records (absl's too) on `console`, each once, so that they do not break a bar.

  Handlers that write to standard output or error are set aside until the end; others (files,
  pytest's) stay. This package's own records are shown from INFO on.
  """
  root = logging.getLogger()
  ours = logging.getLogger('pspnet_jax')
  streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
  aside = [
    handler
    for handler in root.handlers
    if isinstance(handler, absl_logging.ABSLHandler | RichHandler | _PlainHandler)
    or getattr(handler, 'stream', None) in streams
  ]
  handler: logging.Handler = _PlainHandler(console)
  if console.is_terminal:
    handler = RichHandler(
      console=console, show_path=False, log_time_format='%H:%M:%S', omit_repeated_times=False
    )
    handler.setFormatter(_Formatter())
  old_level, new_level = ours.level, ours.level or logging.INFO
  for other in aside:
    root.removeHandler(other)
  root.addHandler(handler)
  ours.setLevel(new_level)
  try:
    yield
  finally:
    root.removeHandler(handler)
    for other in aside:
      root.addHandler(other)
    ours.setLevel(old_level)
