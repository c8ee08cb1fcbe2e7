"""The manifest of a job, a Parquet file: a row for each image, whatever became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pspnet_jax.errors import UserError
from pspnet_jax.prediction.areas import Area
from pspnet_jax.runtime.files import whole_file

if TYPE_CHECKING:
  import pyarrow as pa


class Row(NamedTuple):
  """A row; what is None there is not known, as of an image that could not be read."""

  path: str  # what the image is called: its path below the folder, or as a list has it
  output: str | None = None  # the label, below the folder of results; None: there is none
  area: Area | None = None
  seconds: float | None = None  # since the image before it; None for results that were there
  bytes: int | None = None  # of the image file
  modified: int | None = None  # when the image file was last, in nanoseconds since 1970
  made_from: str | None = None  # digest of image, weights, protocol and threshold
  error: str | None = None  # why there is no label, a sentence
  attempts: int = 1  # how often it was given to a worker in the run that wrote the row


def arrow(file: Path) -> tuple[Any, Any]:
  """Imports pyarrow and pyarrow.parquet.

  Raises:
    UserError: if it is not installed; it names `file`, which is to be written or read.
  """
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as e:
    raise UserError(
      f"{file} is Parquet, which needs pyarrow: pip install 'pspnet_jax[scale]'."
    ) from e
  return pyarrow, pyarrow.parquet


def text_of(path: str) -> str:
  r"""A path as text for a table: bytes that are not UTF-8 become escapes such as \xe9."""
  return os.fsencode(path).decode('utf-8', 'backslashreplace')


def name_of(path: str) -> str:
  """A path as a name that no other path has: as `text_of` has it, with each backslash doubled."""
  return text_of(path.replace('\\', '\\\\'))


def table_of(rows: Sequence[Row], class_names: Sequence[str]) -> pa.Table:
  """Rows as a table.

  Its columns are those of `Row`, but for the area: `height`, `width`, `pixels`, a list with those
  of each class in the order of their ids, and `ignored`, those of no class. The names of the
  classes are in the metadata, as JSON.
  """
  import pyarrow as pa

  schema = pa.schema(
    [
      pa.field('path', pa.string(), nullable=False),
      ('output', pa.string()),
      ('height', pa.int32()),
      ('width', pa.int32()),
      ('pixels', pa.list_(pa.int32())),
      ('ignored', pa.int32()),
      ('seconds', pa.float32()),
      ('bytes', pa.int64()),
      ('modified', pa.timestamp('ns', 'UTC')),
      ('made_from', pa.string()),
      ('error', pa.string()),
      pa.field('attempts', pa.int32(), nullable=False),
    ],
    {'class_names': json.dumps(list(class_names))},
  )
  areas = [row.area for row in rows]
  columns = {
    'height': [area and area.height for area in areas],
    'width': [area and area.width for area in areas],
    'pixels': [area and area.counts[:-1] for area in areas],
    'ignored': [area and area.counts[-1] for area in areas],
  }
  for name in ('path', 'output', 'seconds', 'bytes', 'modified', 'made_from', 'error', 'attempts'):
    columns[name] = [getattr(row, name) for row in rows]
  return pa.table({field.name: columns[field.name] for field in schema}, schema)


def write(path: Path, table: pa.Table) -> None:
  """Writes a table whole or not at all.

  Raises:
    UserError: if the file cannot be written.
  """
  import pyarrow.parquet as pq

  with whole_file(path) as file:
    pq.write_table(table, file, compression='zstd')


def read(path: Path) -> pa.Table:
  """Reads a table that `write` wrote.

  Raises:
    UserError: if it is none.
  """
  pa, pq = arrow(path)
  try:
    table = pq.read_table(path)
  except (OSError, pa.ArrowException) as e:
    raise UserError(
      f'{path} cannot be read as a manifest: remove it, and its images are looked at again.'
    ) from e
  if table.schema.names != table_of([], ()).schema.names:
    raise UserError(f'{path} is there and no manifest of ours: give another --output, or move it.')
  return table
