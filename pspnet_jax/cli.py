"""What the commands share: flags, configs with overrides, and errors in one sentence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from pspnet_jax import settings
from pspnet_jax.checkpoints import Which
from pspnet_jax.errors import Stopped, UserError

FLAGS = flags.FLAGS


def run(main: Callable[[ml_collections.ConfigDict], None]) -> None:
  """Parses flags, calls `main` with the config, and exits.

  The config is that of --config, else the one its run left in --workdir, else the defaults;
  --config.KEY=VALUE changes it. The exit status is 0, or 1 after one sentence about what the user
  can mend.
  """
  try:
    app.run(lambda _: main(FLAGS.config), flags_parser=_parse)
  except Stopped as e:
    _fail(str(e), status=143)
  except UserError as e:
    _fail(str(e))
  except KeyboardInterrupt:
    _fail('interrupted.', status=130)


def _parse(argv: Sequence[str]) -> Sequence[str]:
  path, workdir = _value(argv, 'config'), _value(argv, 'workdir')
  saved = Path(workdir or '.') / settings.SAVED_AS
  if path is not None:
    config = settings.load(path)
  elif workdir is not None and saved.is_file():
    config = settings.load_saved(saved)
  else:
    config = settings.defaults()
  rest = list(_without(argv, 'config'))
  for argument in rest[1:]:
    if argument.startswith(('--config.', '-config.')):
      _check_override(config, argument)
  config_flags.DEFINE_config_dict('config', config, 'Settings; see settings.py.', sys_argv=rest)
  try:
    left = FLAGS(rest)
  except flags.Error as e:
    raise UserError(f'{str(e).rstrip(".")}; see --help.') from e
  except (TypeError, ValueError) as e:
    raise UserError(f'a --config.KEY=VALUE is of the wrong type: {str(e).splitlines()[0]}') from e
  if not FLAGS['verbosity'].present:
    # Orbax reports every file it writes; what fails is raised.
    absl_logging.set_verbosity(absl_logging.ERROR)
  if left[1:]:
    raise UserError(f'unexpected argument {left[1]!r}: flags are written --name=value; see --help.')
  return left


def _value(argv: Sequence[str], name: str) -> str | None:
  """The value of `--name=VALUE` or `--name VALUE`: needed before flags can be defined."""
  for i, argument in enumerate(argv):
    flag, equals, value = argument.partition('=')
    if flag in (f'--{name}', f'-{name}'):
      if not equals and i + 1 == len(argv):
        raise UserError(f'--{name} needs a value: write --{name}=VALUE.')
      return value if equals else argv[i + 1]
  return None


def _without(argv: Sequence[str], name: str) -> Iterator[str]:
  arguments = iter(argv)
  for argument in arguments:
    flag, equals, _ = argument.partition('=')
    if flag not in (f'--{name}', f'-{name}'):
      yield argument
    elif not equals:
      next(arguments, None)


def _check_override(config: ml_collections.ConfigDict, argument: str) -> None:
  *parents, key = argument.partition('=')[0].lstrip('-').split('.')[1:]
  node = config
  for parent in parents:
    settings.check_key(node, parent, argument)
    node = node[parent]
    if not isinstance(node, ml_collections.ConfigDict):
      raise UserError(f'{argument}: {parent} has no keys of its own.')
  settings.check_key(node, key, argument)


def _fail(message: str, status: int = 1) -> None:
  logging.shutdown()
  sys.stdout.flush()
  print(f'Error: {message}', file=sys.stderr)
  sys.exit(status)


def which_checkpoint(value: str) -> Which:
  """The value of --checkpoint."""
  if value.isdigit():
    return int(value)
  if value not in ('best', 'latest'):
    raise UserError(f"--checkpoint={value}: give 'best', 'latest' or the number of a step.")
  return cast(Which, value)
