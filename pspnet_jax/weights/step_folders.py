"""The folders of checkpoints as files: their scores, links in them, and where damaged ones go."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orbax.checkpoint as ocp

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.files import is_link
from pspnet_jax.weights.checkpoint_faults import COMMITTED, Damaged, raise_refusal, steps_in

METADATA = '_CHECKPOINT_METADATA'  # Orbax's, in each checkpoint; what is `custom` in it is ours
SCORES = 'metrics/metrics'  # where Orbax keeps those of a checkpoint, as JSON
_SCORE_KEYS = {'mIoU', 'step', 'crc32'}  # those of before there was the last are read


def scored(miou: float, step: int) -> dict[str, float]:
  """The content of `SCORES`: the score, and what tells when it is no longer what was written."""
  values = {'mIoU': float(miou), 'step': int(step)}
  return values | {'crc32': _crc32(values)}


def rank(metrics: Mapping[str, float]) -> Any:
  """What the best checkpoint has most of: the score; of equal ones the first is the best."""
  return metrics['mIoU'], -metrics.get('step', 0)


def check(directory: Path) -> None:
  """Raises Damaged for what Orbax would end on with an error of its own, or a score that is wrong.

  Args:
    directory: of checkpoints.
  """
  for folder in steps_in(directory):
    if fault := _fault_of_metadata(folder) or _fault_of_score(folder):
      raise Damaged(folder, fault)


def set_aside_unusable(directory: Path) -> list[str]:
  """Moves away checkpoints that Orbax would end on, and those with links.

  A link planted in a workdir could lead to any file of the user's, which would be written over.

  Returns:
    What was moved and why, a sentence each.

  Raises:
    Damaged: if no other one is left; nothing is moved then.
  """
  folders = sorted(steps_in(directory), key=lambda folder: int(folder.name))
  found = {
    folder: _link_in(folder) or _fault_of_metadata(folder) or _fault_of_score(folder)
    for folder in folders
  }
  faults = {folder: fault for folder, fault in found.items() if fault}
  if faults and len(faults) == len(folders):
    raise no_other(*list(faults.items())[-1])
  return [set_aside(folder, fault) for folder, fault in faults.items()]


def no_other(folder: Path, reason: str) -> Damaged:
  """The sentence of a run that has nothing left to go on from."""
  remedy = 'no other one there is sound: give another workdir to begin anew'
  return Damaged(folder, reason, remedy)


def set_aside(folder: Path, reason: str) -> str:
  """Renames a damaged checkpoint, so that its number is free and nobody reads it again.

  Returns:
    A sentence that says so.

  Raises:
    UserError: if that is refused.
  """
  number, to = 1, folder.with_name(f'{folder.name}.damaged')
  with storage.writing(folder):
    while to.exists() or is_link(to):
      number += 1
      to = folder.with_name(f'{folder.name}.damaged-{number}')
    _move(folder, to)
  return f'Step {folder.name} is damaged ({reason}) and passed over: it lies in {to}.'


def _move(folder: Path, to: Path) -> None:
  """Renames a checkpoint; in a bucket, copies it and removes it.

  What Orbax finds in a bucket without a commit mark it removes, at once in another thread. So the
  mark is the first that is copied, and the first that is removed: whenever this is cut short, the
  checkpoint is there as it was, or its copy is whole.
  """
  if not storage.is_remote(folder):
    folder.rename(to)
    return
  (to / COMMITTED).write_text(f'Moved from {folder}, which is damaged.', encoding='utf-8')
  storage.copy_objects(folder, to, but_for=COMMITTED)
  (folder / COMMITTED).unlink(missing_ok=True)
  cast(Any, folder).rmtree(missing_ok=True)


def which_folders(directory: Path) -> list[tuple[int, int]]:
  """Which folders a workdir and its checkpoints are; empty if one is gone, and in a bucket."""
  with contextlib.suppress(OSError):
    found = map(os.stat, (directory.parent, directory))
    return [(folder.st_dev, folder.st_ino) for folder in found]
  return []


def made_anew(directory: Path) -> list[tuple[int, int]]:
  """`which_folders`, for a run whose own are gone: they are made if need be.

  Raises:
    UserError: if it holds checkpoints, which are somebody else's, or cannot be made.
  """
  if steps_in(directory):
    raise UserError(
      f'{directory} was replaced while training went on by a folder that holds checkpoints, and '
      'nothing was saved there: look whose they are, or give another workdir.'
    )
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise cannot_write(directory, e) from e
  return which_folders(directory)


def _link_in(folder: Path) -> str | None:
  """Says which file of a checkpoint is a link; None if none is."""
  if storage.is_remote(folder):
    return None  # a bucket has none
  if folder.is_symlink():
    return 'it is a link'
  for where, folders, files in os.walk(folder):
    for name in (*folders, *files):
      if os.path.islink(path := os.path.join(where, name)):
        return f'{os.path.relpath(path, folder)} is a link'
  return None


def _fault_of_metadata(folder: Path) -> str | None:
  """Says whether Orbax would end on the file that each checkpoint has for it."""
  try:
    names = ocp.path.step.standard_name_format()
    _ = names.find_step(folder.parent, int(folder.name)).commit_timestamp  # reads all of it
  except Exception as e:  # whatever it raises
    raise_refusal(e, folder)
    return f'{METADATA} cannot be read' if folder.is_dir() else None  # None: just removed
  return None


def _fault_of_score(folder: Path) -> str | None:
  """Says what is wrong with the score of a checkpoint; None if nothing is, or there is none."""
  try:
    values = json.loads((folder / SCORES).read_bytes())
    rank({key: float(x) for key, x in values.items()})
  except (FileNotFoundError, NotADirectoryError):  # no score, or just removed
    return None
  except Exception as e:
    raise_refusal(e, folder)
    return f'its score, {SCORES}, cannot be read'
  crc32 = values.pop('crc32', None)
  changed = crc32 is not None and crc32 != _crc32(values)
  of_another = str(values.get('step', folder.name)) != folder.name
  if changed or of_another or not values.keys() <= _SCORE_KEYS:
    return f'its score, {SCORES}, is not what was written'
  return None


def _crc32(values: Mapping[str, float]) -> int:
  return zlib.crc32(json.dumps(dict(sorted(values.items()))).encode())
