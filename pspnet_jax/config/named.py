"""Classes and functions of one's own, named in a config or on the command line.

A name is `package.module:Name`. Python finds the module where it finds any other, and in the folder
that the command was started from. Only what the user names is ever imported: in a config file, or
with a flag. What a workdir remembers is for the user to name again.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pspnet_jax.errors import UserError, nearest

if TYPE_CHECKING:
  from flax import nnx


NOT_NAMED = '?'  # before a name that only a workdir remembers


def is_own(name: str) -> bool:
  """Whether a name stands for code outside this package."""
  return ':' in name


def may_be_imported(name: str) -> bool:
  """Whether a name stands for code outside this package that the user has named."""
  return is_own(name) and not name.startswith(NOT_NAMED)


def find(name: str, key: str) -> Any:
  """Imports what `name` stands for.

  Args:
    name: as 'package.module:Name'.
    key: where it was named, such as 'config.model.name', for messages.

  Raises:
    UserError: if there is no such module, it cannot be imported, or lacks that name.
  """
  if name.startswith(NOT_NAMED):
    name = name.removeprefix(NOT_NAMED)
    raise UserError(
      f'the run used {name}, which is imported only if you name it: give --{key}={name}, if you '
      'trust that code.'
    )
  module_name, _, attribute = name.partition(':')
  parts = (*module_name.split('.'), attribute)
  if not all(part.isidentifier() for part in parts) or module_name.endswith('.py'):
    raise UserError(
      f'{key}={name} is no name: write it as package.module:Name, without folder and .py.'
    )
  if not {'', os.getcwd()} & set(sys.path):
    sys.path.append(os.getcwd())  # as `python -m` has it; last, so that it hides nothing
  try:
    module = importlib.import_module(module_name)
  except (Exception, SystemExit) as e:  # it is the user's code: whatever it raises, they can mend
    if isinstance(e, ModuleNotFoundError) and e.name and f'{module_name}.'.startswith(f'{e.name}.'):
      raise UserError(
        f'{key}={name}: there is no module {e.name}: install it, or start the command in the '
        'folder that holds it.'
      ) from e
    raise UserError(
      f'{key}={name}: importing {module_name} fails with {type(e).__name__}: {e}.'
    ) from e
  if not hasattr(module, attribute):
    near = nearest(attribute, vars(module))
    hint = f'did you mean {near}?' if near else 'name what the module defines.'
    where = getattr(module, '__file__', None) or 'built in'  # another module of the same name?
    raise UserError(f'{key}={name}: {module_name} ({where}) has no {attribute}: {hint}')
  return getattr(module, attribute)


def find_callable(name: str, key: str) -> Callable[..., Any]:
  """`find`, for what is to be called.

  Raises:
    UserError: as `find`, and if it cannot be called.
  """
  found = find(name, key)
  if not callable(found):
    raise UserError(f'{key}={name} is {found!r}: name a class or a function.')
  return found


def find_network(name: str, key: str) -> type[nnx.Module]:
  """`find`, for a network's class.

  Raises:
    UserError: as `find`, and if it is no class of Flax NNX modules.
  """
  from flax import nnx

  found = find(name, key)
  if not (isinstance(found, type) and issubclass(found, nnx.Module)):
    raise UserError(f'{key}={name} is {found!r}, no network: name a class of nnx.Module.')
  return found


def name_of(thing: Any) -> str:
  """The name by which `find` finds a class or function again."""
  return f'{thing.__module__}:{thing.__qualname__}'
