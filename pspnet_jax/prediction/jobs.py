"""A job: images that are labelled once, through every interruption, and a manifest of all."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pspnet_jax.errors import UserError
from pspnet_jax.prediction import manifest
from pspnet_jax.prediction.results import Results
from pspnet_jax.prediction.work import Task
from pspnet_jax.runtime.files import refuse_links, remove_leftovers, write_whole
from pspnet_jax.runtime.folder_lock import FolderLock

if TYPE_CHECKING:
  import pyarrow as pa

_PART_SECONDS = 30.0  # what a driver that is killed has to look at again, at most
_OTHER = 'give another --output, or remove what is there'


class Job:
  """A folder of results in which one process at a time works, and what it knows of each image.

  `job.json` says what the results are made from. `manifest.parquet` is written at the end; until
  then each file in `parts` holds rows, later ones in the place of earlier ones.

  Args:
    output: the folder; it is made if need be.

  Raises:
    UserError: if another process works there, pyarrow is not installed, or the folder holds files
      of these names that are not ours.
  """

  def __init__(self, output: Path):
    self._file = output / 'manifest.parquet'
    self._state, self._parts = output / 'job.json', output / 'parts'
    manifest.arrow(self._file)
    self._lock = FolderLock(output, 'is being labelled into by {holder}: wait, or choose another.')
    self._tables: list[pa.Table] = []  # written, oldest first
    self._pending: list[pa.Table] = []  # not yet
    self._written = time.monotonic()
    self._class_names: Sequence[str] = ()

  def __enter__(self) -> Job:
    return self

  def __exit__(self, *_: object) -> None:
    try:
      self._flush()
    finally:
      self._lock.release()

  def begin(self, made_from: str, class_names: Sequence[str]) -> None:
    """Takes up what is there, or begins anew.

    Args:
      made_from: see `labelling.made_from`.
      class_names: of the network.

    Raises:
      UserError: if the folder holds the work of another network, protocol or threshold.
    """
    folder = self._state.parent
    refuse_links(folder, (self._state.name, self._file.name, self._parts.name))
    paths = [self._file] if self._file.exists() else []
    paths += sorted(self._parts.glob('*.parquet'))
    if self._state.exists():
      if self._stored() != made_from:
        raise UserError(
          f'{folder} holds labels of another network, protocol or threshold: {_OTHER}.'
        )
    elif paths:
      raise UserError(f'{paths[0]} is there without {self._state.name}: {_OTHER}.')
    else:
      write_whole(self._state, json.dumps({'made_from': made_from}) + '\n')
    self._class_names = class_names
    self._tables = [manifest.read(path) for path in paths]
    remove_leftovers(self._parts)
    self._next = int(paths[-1].stem) + 1 if paths and paths[-1] != self._file else 0

  def _stored(self) -> str:
    try:
      return str(json.loads(self._state.read_text(encoding='utf-8'))['made_from'])
    except (OSError, ValueError, KeyError, TypeError) as e:
      raise UserError(f'{self._state} is there and is no state of a job: {_OTHER}.') from e

  def left(self, tasks: Sequence[Task], results: Results) -> list[Task]:
    """The images that have no row with a whole label, or have changed since."""
    columns = ('path', 'output', 'bytes', 'modified', 'made_from')
    known: dict[str, tuple[Any, ...]] = {}
    for table in self._tables:
      table = table.set_column(
        table.schema.get_field_index('modified'), 'modified', table['modified'].cast('int64')
      )
      known |= {row[0]: row for row in zip(*(table[x].to_pylist() for x in columns), strict=True)}
    return [
      task
      for task in tasks
      if (row := known.get(task.id)) is None
      or row[:4] != (task.id, task.output, task.bytes, task.modified)
      or not results.has(task.target, row[4])
    ]

  def add(self, table: pa.Table) -> None:
    """Adds rows, which reach the disk within half a minute or at the end of the block.

    Raises:
      UserError: if they cannot be written.
    """
    self._pending.append(table)
    if time.monotonic() - self._written > _PART_SECONDS:
      self._flush()

  def _flush(self) -> None:
    self._written = time.monotonic()
    if not self._pending:
      return
    import pyarrow as pa

    table = pa.concat_tables(self._pending)
    manifest.write(self._parts / f'{self._next:06d}.parquet', table)
    self._next += 1
    self._tables.append(table)
    self._pending = []

  def finish(self, tasks: Sequence[Task]) -> int:
    """Writes the manifest, a row for each image in their order, and removes the parts.

    Returns how many rows were left out, of images that are no longer asked for.

    Raises:
      UserError: if it cannot be written.
    """
    import pyarrow as pa

    self._flush()
    whole = pa.concat_tables([manifest.table_of([], self._class_names), *self._tables])
    index = {path: i for i, path in enumerate(whole['path'].to_pylist())}
    table = whole.take([index[task.id] for task in tasks])
    manifest.write(self._file, table)
    for part in self._parts.glob('*.parquet'):
      part.unlink(missing_ok=True)
    if self._parts.is_dir():
      self._parts.rmdir()
    self._tables = [table]
    return len(index) - len(tasks)
