"""What the commands share: flags and their help, the config, and errors in one sentence.

A command is a module at the root of the package. Its docstring is its help, `define_flags` defines
its flags, and `main` does what they say.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import ml_collections
from absl import app, flags
from absl import logging as absl_logging

import pspnet_jax
from pspnet_jax.config import checks, command_line, help_text, named
from pspnet_jax.config.overrides import as_flags
from pspnet_jax.config.path_flags import define_folder, define_folders, first_path
from pspnet_jax.config.path_flags import define_path as define_path
from pspnet_jax.config.path_flags import define_paths as define_paths
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import shortages, signals, storage, streams
from pspnet_jax.runtime.plain_text import printable

if TYPE_CHECKING:
  from flax import nnx

  from pspnet_jax.weights.loaded import Which

FLAGS = flags.FLAGS
_HELP = {'-h', '-help', '--help', '--helpfull', '--helpshort'}

# What `main` is called with, beside its flags: the config, words, or nothing; with 'protocol',
# --config.eval.KEY=VALUE is allowed for `protocol_options`.
_takes: Literal['config', 'protocol', 'words', None] = None
_tell: Callable[[str, int], None] | None = None  # of a failure ahead of it; see `tells_failures`
_own: list[flags.Flag[Any]] = []  # the command's flags
_config: ml_collections.ConfigDict | None = None
_saved: Path | None = None  # the file that the config was read from, if it was a workdir's
_given: dict[str, Any] = {}  # what --config.KEY=VALUE said, by key such as 'eval.flip'


def takes_config() -> None:
  """Says, in `define_flags`, that `main` is called with a config.

  It is that of --config, else the one its run left in --workdir, else the defaults;
  --config.KEY=VALUE changes it.
  """
  _declare('config')


def takes_protocol() -> None:
  """Says, in `define_flags`, that `main` asks for `protocol_options`."""
  _declare('protocol')


def takes_words() -> None:
  """Says, in `define_flags`, that `main` is called with the words that stand beside the flags."""
  _declare('words')


def tells_failures(tell: Callable[[str, int], None] | None) -> None:
  """Says, in `define_flags`, who learns the sentence and status of a failure ahead of `main`."""
  global _tell
  _tell = tell


def _declare(takes: Literal['config', 'protocol', 'words']) -> None:
  global _takes
  _takes = takes
  if takes != 'words':
    flags.DEFINE_bool('settings', False, 'Lists all settings, as --config.KEY=VALUE, and ends.')


def define_network_flags(*, several: bool = False, on_hub: bool = False) -> None:
  """Defines the flags of commands that take a trained network out of a workdir.

  With `several`, --workdir is a list, and the networks of all label images together; with
  `on_hub` it may be hf://OWNER/NAME, as each of several.
  """
  if several:
    define_folders('workdir', 'Of a run or a conversion; of several, A,B, to label together.')
  elif on_hub:
    define_folder('workdir', 'Of a run or a conversion, or hf://OWNER/NAME.')
  else:
    define_path('workdir', None, 'Of a run or a conversion.', required=True, in_bucket=True)
  flags.DEFINE_string('checkpoint', 'best', "'best', 'latest' or the number of a step.")
  flags.DEFINE_bool('ema', True, "Takes the parameters' moving average, where the run kept one.")
  flags.DEFINE_string(
    'model',
    None,
    "The network's class, MODULE:CLASS, where it is not PSPNet; code is imported only if named "
    'here.',
  )


def start(name: str, doc: str | None, define_flags: Callable[[], None]) -> NoReturn:
  """Runs the command `name`, whose module begins with these two, and exits.

  The module calls it ahead of its own imports: what only asks for help does not wait for JAX. It
  is then imported by its name, so that its classes and functions are not there twice.
  """
  _run(lambda: importlib.import_module(f'pspnet_jax.{name}').main, doc, define_flags)


def run(main: Callable[..., None]) -> NoReturn:
  """Parses the command line as the module of `main` says, calls `main`, and exits.

  The exit status is 0, or 1 after one sentence about what the user can mend.
  """
  module = sys.modules[main.__module__]
  _run(lambda: main, module.__doc__, module.define_flags)


def _run(
  find_main: Callable[[], Callable[..., None]],
  doc: str | None,
  define_flags: Callable[[], None],
) -> NoReturn:
  streams.make_safe()
  signals.raise_interrupts()
  before = set(FLAGS)
  define_flags()
  _own.extend(FLAGS[name] for name in FLAGS if name not in before)
  if _HELP & set(sys.argv):
    streams.show(help_text.of(doc or '', _own, takes_config=_takes == 'config'))
    sys.exit()
  if '--version' in sys.argv:
    streams.show(f'pspnet_jax {pspnet_jax.__version__}')
    sys.exit()
  absl_logging.get_absl_handler().setFormatter(_LogFormatter())
  # What a failed write of a checkpoint leaves undone; the failure itself is reported.
  warnings.filterwarnings('ignore', 'coroutine .* was never awaited', RuntimeWarning)
  try:
    app.run(lambda argv: _call(find_main(), argv[1:]), flags_parser=_parse)
  except UserError as e:
    _fail(str(e), e.status)
  except flags.Error as e:
    _fail(f'{str(e).rstrip(".")}; see --help.')
  except Exception as e:
    if (said := shortages.sentence(e) or storage.sentence(e)) is None:
      if _tell is None:
        raise
      traceback.print_exc()
      _tell(f'{type(e).__name__}: {e}', 1)
      sys.exit(1)
    _fail(said)
  except KeyboardInterrupt:
    _fail('interrupted.', status=130)
  finally:
    streams.flush()
  sys.exit()


def _call(main: Callable[..., None], words: Sequence[str]) -> None:
  tells_failures(None)
  if 'jax' in sys.modules:  # some commands do without
    from pspnet_jax.runtime import compile_cache

    compile_cache.enable()
  if _takes == 'config':
    main(_config)
  elif _takes == 'words':
    main(words)
  else:
    main()


def _parse(argv: Sequence[str]) -> Sequence[str]:
  program, *rest = FLAGS.read_flags_from_files(argv, force_gnu=False)
  if _takes == 'protocol' and command_line.value_of(rest, 'config') is not None:
    raise UserError('--config does not bear on prediction: all is as in the checkpoint.')
  config = _read_config(rest) if _takes in ('config', 'protocol') else None
  given = command_line.read(rest, [flag.name for flag in _own], FLAGS, config)
  if given.words and _takes != 'words':
    raise UserError(
      f'unexpected argument {given.words[0]!r}: flags are written --name=value; see --help.'
    )
  if config is not None:
    global _config
    _config = config
    _given.update(given.settings)
    checks.check_values(config)
    if '--settings' in given.flags:
      streams.show('\n'.join(_settings(config)))
      sys.exit()
    if _saved is not None:
      from pspnet_jax.config import kept_paths

      kept_paths.check(config, _saved, _given)
  FLAGS([program, *given.flags])
  if not FLAGS['verbosity'].present:
    # Orbax reports every file it writes, and an error before it raises it.
    absl_logging.set_verbosity(absl_logging.FATAL)
  return [program, *given.words]


def _settings(config: ml_collections.ConfigDict) -> list[str]:
  if _takes == 'protocol':
    config = ml_collections.ConfigDict(
      {'eval': {key: config.eval[key] for key in _PREDICTION_KEYS}}
    )
  return [*as_flags(config), f'What they mean: {Path(checks.__file__).with_name("defaults.py")}']


def _read_config(argv: Sequence[str]) -> ml_collections.ConfigDict:
  """The settings there are, with the values they have before flags change them."""
  from pspnet_jax.config import files
  from pspnet_jax.config.defaults import CHOICES, defaults

  if _takes == 'protocol':
    return defaults()
  given = {group: command_line.value_of(argv, f'config.{group}.name') for group in CHOICES}
  names = {group: name for group, name in given.items() if name is not None}
  path, workdir = (command_line.value_of(argv, name) for name in ('config', 'workdir'))
  if path is not None:
    return files.load(path, names)
  folder = None if workdir is None else first_path('workdir', workdir)
  if folder is not None and (saved := files.saved_in(folder)) is not None:
    global _saved
    _saved = saved
    return files.load_saved(saved, names)
  return defaults(names)


class _LogFormatter(absl_logging.PythonFormatter):  # for records ahead of a reporter
  def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
    return printable(super().formatMessage(record))


def _fail(message: str, status: int = 1) -> NoReturn:
  logging.shutdown()
  streams.show_sentence(f'Error: {message}')
  if _tell is not None:
    _tell(message, status)
  sys.exit(status)


def is_command() -> bool:
  """Whether this process is one of the commands, and no program of the user's."""
  return bool(_own)


def command(name: str) -> str:
  """How to start another command: the way this one was started is the way that works."""
  program, python, here = Path(sys.argv[0]), Path(sys.executable), Path.cwd()
  if program.name == 'pspnet':
    on_path = shutil.which('pspnet') == str(program)
    return f'{"pspnet" if on_path else program} {name}'
  started = python.relative_to(here) if python.is_relative_to(here) else 'python'
  return f'{started} -m pspnet_jax.{name}'


def which_checkpoint(value: str) -> Which:
  """The value of --checkpoint."""
  if value.isdecimal():
    return int(value)
  if value not in ('best', 'latest'):
    raise UserError(f"--checkpoint={value}: give 'best', 'latest' or the number of a step.")
  return cast('Which', value)


def own_network(name: str | None) -> type[nnx.Module] | None:
  """The value of --model."""
  return None if name is None else named.find_network(name, '--model')


def overrides() -> dict[str, Any]:
  """What --config.KEY=VALUE flags set, by key such as 'eval.flip'."""
  return dict(_given)


_SIZES = ('batch_size', 'canvas_mb', 'split_height')
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
