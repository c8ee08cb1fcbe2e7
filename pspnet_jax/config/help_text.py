"""What --help writes."""

import textwrap
from collections.abc import Iterable
from typing import Any

from absl import flags


def of(doc: str, own: Iterable[flags.Flag[Any]], *, takes_config: bool) -> str:
  """A command's help: its docstring, then a row for each of its flags.

  Args:
    doc: the docstring.
    own: its flags.
    takes_config: whether it has --config and --config.KEY=VALUE beside them.
  """
  rows = []
  for flag in own:
    name = f'--[no]{flag.name}' if flag.boolean and flag.default else f'--{flag.name}'
    note = ' (required)' if flag.validators else ''
    if not note and flag.default not in (None, False):
      note = f' (default: {flag.default_unparsed})'
    rows.append((name, f'{flag.help}{note}'))
    if flag.name == 'settings' and takes_config:
      names = "A config file, FILE.py, or the name of one of the package's, such as camvid."
      rows.append(('--config', names))
  width = max((len(name) for name, _ in rows), default=0) + 4
  lines = [doc.strip(), '', 'Flags, written --NAME=VALUE:']
  for name, text in rows:
    indent = '  ' + name.ljust(width - 2)
    lines += textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=' ' * width)
  return '\n'.join(lines)
