"""A folder for uploads that nobody else reads, and settings by which Gradio reports to nobody."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SETTINGS = {
  'GRADIO_ANALYTICS_ENABLED': 'False',
  'GRADIO_RUN_HISTORY': 'False',
  'GRADIO_SSR_MODE': 'False',
  'GRADIO_MCP_SERVER': 'False',
}


@contextlib.contextmanager
def settings() -> Iterator[Path]:
  """While entered, which has to be before Gradio is imported, Gradio reports nothing to anybody.

  Yields:
    where uploads will be, which Gradio keeps in mind when it is imported; `folder` makes it.
  """
  path = Path(tempfile.gettempdir(), f'pspnet-demo-{secrets.token_hex(8)}')
  values = {**_SETTINGS, 'GRADIO_TEMP_DIR': str(path)}
  before = {name: os.environ.get(name) for name in values}
  os.environ.update(values)
  try:
    yield path
  finally:
    for name, value in before.items():
      if value is None:
        os.environ.pop(name, None)
      else:
        os.environ[name] = value


@contextlib.contextmanager
def folder(path: Path) -> Iterator[None]:
  """Makes the folder for what is being uploaded, and removes it with all that is left in it."""
  path.mkdir(mode=0o700)
  try:
    yield
  finally:
    shutil.rmtree(path, ignore_errors=True)
