"""All commands by one name: `pspnet COMMAND ...`, or `python -m pspnet_jax COMMAND ...`."""

from __future__ import annotations

import ast
import importlib.resources
import runpy
import sys

import pspnet_jax
from pspnet_jax.errors import nearest
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.plain_text import printable

COMMANDS = (
  *('train', 'evaluate', 'predict', 'batch-predict'),
  *('prepare', 'doctor', 'plan'),
  *('zoo', 'convert'),
  *('export', 'pack', 'demo'),
  *('score', 'submit'),
)


OVERVIEW = """PSPNet (Zhao et al., CVPR 2017) in JAX.

Usage: pspnet COMMAND [--FLAG=VALUE ...]

{commands}

To begin with, on generated scenes, in two minutes:

  pspnet train --config=context_scenes --workdir=/tmp/scenes

`pspnet COMMAND --help` explains a command; --version says which version this is."""


def module_of(command: str) -> str:
  """The module that a command is."""
  return command.replace('-', '_')


def summary(command: str) -> str:
  """The first line of a command's docstring, read without importing it: that would load JAX."""
  source = importlib.resources.files(pspnet_jax) / f'{module_of(command)}.py'
  return (ast.get_docstring(ast.parse(source.read_text(encoding='utf-8'))) or '').splitlines()[0]


def main() -> None:
  """Runs the command that the first argument names, as `python -m pspnet_jax.COMMAND` does."""
  streams.make_safe()
  program, *arguments = sys.argv
  if not arguments or arguments[0] in ('help', '-h', '-help', '--help'):
    lines = [f'  {x:15}{summary(x)}' for x in COMMANDS]
    streams.show(OVERVIEW.format(commands='\n'.join(lines)))
  elif arguments[0] == '--version':
    streams.show(f'pspnet_jax {pspnet_jax.__version__}')
  elif arguments[0] in COMMANDS:
    sys.argv = [program, *arguments[1:]]
    runpy.run_module(f'pspnet_jax.{module_of(arguments[0])}', run_name='__main__')
  else:
    near = nearest(arguments[0], COMMANDS)
    hint = f'did you mean {near}?' if near else f'there are {", ".join(COMMANDS)}.'
    if arguments[0].startswith('-'):
      hint = 'name one before the flags, as in pspnet train --config=context_scenes.'
    streams.show(f'Error: there is no command {printable(arguments[0])}: {hint}', sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  main()
