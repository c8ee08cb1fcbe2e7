"""What the commands share: flags, configs with overrides, and errors in one sentence."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from pspnet_jax.config import checks, files
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.runtime import compile_cache

if TYPE_CHECKING:
  from pspnet_jax.weights.checkpoints import Which

FLAGS = flags.FLAGS


def run(
  main: Callable[[ml_collections.ConfigDict], None],
  *,
  from_workdir: bool = True,
  has_workdir: bool = True,
) -> None:
  """Parses flags, calls `main` with the config, and exits.

  The config is that of --config, else the one its run left in --workdir, else the defaults;
  --config.KEY=VALUE changes it. The exit status is 0, or 1 after one sentence about what the user
  can mend.

  Args:
    main: the command.
    from_workdir: False if the workdir's config is of no interest.
    has_workdir: False for a command without the flag --workdir, which the others demand.
  """
  parse = functools.partial(_parse, from_workdir=from_workdir, has_workdir=has_workdir)
  _run(lambda _: main(FLAGS.config), parse)


def run_without_config(main: Callable[[], None]) -> None:
  """As `run`, for a command that has only flags of its own."""
  _run(lambda _: main(), _parse_flags)


def run_with_words(main: Callable[[Sequence[str]], None]) -> None:
  """As `run_without_config`, for a command whose `main` is told the words beside the flags."""
  FLAGS.set_gnu_getopt()  # flags may come after words
  _run(main, functools.partial(_parse_flags, words=True))


def _run(
  main: Callable[[Sequence[str]], None], parse: Callable[[Sequence[str]], Sequence[str]]
) -> None:
  sys.unraisablehook = _unraisable
  # What a failed write of a checkpoint leaves undone; the failure itself is reported.
  warnings.filterwarnings('ignore', 'coroutine .* was never awaited', RuntimeWarning)
  compile_cache.enable()
  try:
    app.run(lambda argv: main(argv[1:]), flags_parser=parse)
  except Stopped as e:
    _fail(str(e), status=e.status)
  except UserError as e:
    _fail(str(e))
  except flags.Error as e:
    _fail(f'{str(e).rstrip(".")}; see --help.')
  except jax.errors.JaxRuntimeError as e:
    if 'RESOURCE_EXHAUSTED' not in str(e):
      raise
    _fail(
      f'the device is out of memory ({str(e).splitlines()[0][:200]}): lower batch_size or '
      'crop_size, raise accumulation_steps, or lower eval.batch_size and eval.window.'
    )
  except KeyboardInterrupt:
    _fail('interrupted.', status=130)


def _parse(argv: Sequence[str], from_workdir: bool, has_workdir: bool) -> Sequence[str]:
  if has_workdir:
    flags.DEFINE_string('workdir', None, 'Where checkpoints and logs are.', required=True)
  path, workdir = _value(argv, 'config'), _value(argv, 'workdir')
  saved = Path(workdir or '.') / files.SAVED_AS
  if path is not None:
    config = files.load(path)
  elif from_workdir and has_workdir and workdir is not None and saved.is_file():
    config = files.load_saved(saved)
  else:
    config = defaults()
  rest = list(_without(argv, 'config'))
  for argument in rest[1:]:
    if argument.startswith(('--config.', '-config.')):
      _check_override(config, argument)
  try:
    config_flags.DEFINE_config_dict('config', config, 'Settings.', sys_argv=rest)
    for name in ('workdir', 'config') if has_workdir else ('config',):  # shown by --help
      FLAGS.register_key_flag_for_module(argv[0], FLAGS[name])
    left = _parse_flags(rest)
  except (TypeError, ValueError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'a --config.KEY=VALUE is of the wrong type: {str(e).splitlines()[0]}') from e
  checks.check_values(FLAGS.config)
  return left


def _parse_flags(argv: Sequence[str], words: bool = False) -> Sequence[str]:
  left = FLAGS(argv)
  if not FLAGS['verbosity'].present:
    # Orbax reports every file it writes, and an error before it raises it.
    absl_logging.set_verbosity(absl_logging.FATAL)
  if left[1:] and not words:
    raise UserError(f'unexpected argument {left[1]!r}: flags are written --name=value; see --help.')
  return left


def overrides() -> dict[str, Any]:
  """What --config.KEY=VALUE flags set, by key such as 'eval.flip'."""
  return dict(config_flags.get_override_values(FLAGS['config']))


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
    files.check_key(node, parent, argument)
    node = node[parent]
    if not isinstance(node, ml_collections.ConfigDict):
      raise UserError(f'{argument}: {parent} has no keys of its own.')
  files.check_key(node, key, argument)


def _unraisable(args: Any) -> None:
  # When a read or write of a checkpoint fails, TensorStore's threads go on to report to an event
  # loop that is closed by then.
  if str(args.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(args)


def _fail(message: str, status: int = 1) -> None:
  logging.shutdown()
  sys.stdout.flush()
  print(f'Error: {message}', file=sys.stderr)
  sys.exit(status)


def which_checkpoint(value: str) -> Which:
  """The value of --checkpoint."""
  if value.isdecimal():
    return int(value)
  if value not in ('best', 'latest'):
    raise UserError(f"--checkpoint={value}: give 'best', 'latest' or the number of a step.")
  return cast('Which', value)


_SIZES = ('batch_size', 'canvas_mb')
_PREDICTION_KEYS = (*checks.PROTOCOL_KEYS, *_SIZES)  # of config.eval


def protocol_options() -> dict[str, Any]:
  """What --config.eval.KEY=VALUE flags change; UserError for keys that do not affect prediction."""
  given = {}
  for key, value in overrides().items():
    group, _, name = key.partition('.')
    if group != 'eval' or name not in _PREDICTION_KEYS:
      known = ', '.join(f'--config.eval.{name}' for name in _PREDICTION_KEYS)
      raise UserError(f'--config.{key} does not bear on prediction: it knows {known}.')
    given[name] = value
  options = {name: given[name] for name in _SIZES if name in given}
  return options | checks.protocol_changes(given)
