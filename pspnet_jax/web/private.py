"""A folder for uploads that nobody else reads, and settings by which Gradio reports to nobody."""

from __future__ import annotations

import contextlib
import os
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
def folder() -> Iterator[Path]:
  """Makes the folder for what is being uploaded, and removes it with all that is left in it.

  While entered, which has to be before Gradio is imported, Gradio reports nothing to anybody.
  """
  with tempfile.TemporaryDirectory(prefix='pspnet-demo-', ignore_cleanup_errors=True) as made:
    settings = {**_SETTINGS, 'GRADIO_TEMP_DIR': made}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
      yield Path(made)
    finally:
      for name, value in before.items():
        if value is None:
          os.environ.pop(name, None)
        else:
          os.environ[name] = value
