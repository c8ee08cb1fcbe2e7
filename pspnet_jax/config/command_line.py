"""The command line taken apart: flags, settings and words, each of them known and given once."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import flags

from pspnet_jax.config import overrides
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.plain_text import printable


@dataclasses.dataclass
class Given:
  """What was given."""

  flags: list[str] = dataclasses.field(default_factory=list)  # as absl reads them
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)  # by key: the value
  words: list[str] = dataclasses.field(default_factory=list)


def value_of(argv: Sequence[str], name: str) -> str | None:
  """The value of `--name=VALUE` or `--name VALUE`, before it is known which flags there are."""
  for i, argument in enumerate(argv):
    if argument == '--':
      break
    flag, equals, value = argument.partition('=')
    if flag in (f'--{name}', f'-{name}'):
      return value if equals else _following(name, argv[i + 1 : i + 2])
  return None


def read(
  argv: Sequence[str],
  own: Sequence[str],
  known: flags.FlagValues,
  config: ml_collections.ConfigDict | None,
) -> Given:
  """Takes arguments apart, and sets in `config` what they say.

  Args:
    argv: without the program's name.
    own: the names of the command's flags.
    known: all flags there are.
    config: all settings there are; None for a command without any.

  Raises:
    UserError: for a flag or setting that does not exist (with the nearest one), lacks its value,
      has one of another type or is given twice; what was typed is in it as one line.
  """
  try:
    return _read(argv, own, known, config)
  except UserError as e:
    raise UserError(printable(str(e))) from e


def _read(
  argv: Sequence[str],
  own: Sequence[str],
  known: flags.FlagValues,
  config: ml_collections.ConfigDict | None,
) -> Given:
  given, seen = Given(), set()
  arguments = collections.deque(argv)
  while arguments:
    argument = arguments.popleft()
    if argument == '--':
      given.words.extend(arguments)
      break
    if not argument.startswith('-') or not argument.strip('-'):
      given.words.append(argument)
      continue
    name, equals, value = argument.removeprefix('-').removeprefix('-').partition('=')
    key = name.removeprefix('no')
    setting = None
    if config is not None and key.startswith('config.'):
      setting = key.removeprefix('config.')
      overrides.check(config, setting, equals + value)
      switch = overrides.is_switch(config, setting)
      if name != key and (equals or not switch):
        raise UserError(f'there is no flag --{name}: write --{key}=VALUE.')
    elif config is not None and name == 'config':
      key, switch = name, False
    elif name in known:
      key, switch = known[name].name, known[name].boolean
    elif key in known and known[key].boolean and not equals:
      key, switch = known[key].name, True
    else:
      raise UserError(f'there is no flag --{name}: {_hint(name, equals + value, own, config)}')
    if not equals and not switch:
      value = _following(name, arguments)
      argument = f'{argument}={value}'
      arguments.popleft()
    if key in seen:
      raise UserError(f'--{key} is given twice: give it once.')
    seen.add(key)
    if setting is not None and config is not None:
      text = value if '=' in argument else str(name == key)
      given.settings[setting] = overrides.give(config, setting, text)
    elif key != 'config' or config is None:  # that has been read: see `value_of`
      given.flags.append(argument)
  return given


def _following(name: str, arguments: Sequence[str] | collections.deque[str]) -> str:
  if not arguments or re.match('--|-[^\\W\\d]', arguments[0]):  # -3 is a value
    raise UserError(f'--{name} needs a value: write --{name}=VALUE.')
  return arguments[0]


def _hint(
  name: str, value: str, own: Sequence[str], config: ml_collections.ConfigDict | None
) -> str:
  """What was probably meant by a flag that does not exist; `value` is '=VALUE' or empty."""
  setting = None if config is None else overrides.same_name(config, name)
  if setting is None:
    flag_names = [*own, 'help', 'version', *([] if config is None else ['config'])]
    begun = [x for x in flag_names if x.startswith(name)]
    if near := begun[:1] or difflib.get_close_matches(name, flag_names, n=1):
      return f'did you mean --{near[0]}?'
    setting = None if config is None else overrides.nearest(config, name)
  if setting is None:
    return 'see --help.'
  return f'did you mean --config.{setting}{value}?'
