"""Files of a run in a bucket: written here, and copied there whole, since nothing appends there."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from pspnet_jax.runtime.files import write_whole


class Copies:
  """A folder of this computer whose files are copied to a folder of a bucket.

  What a process that was killed had not sent is lost with it, and its folder here is left to
  whatever tidies up temporary files.

  Args:
    bucket: gs://BUCKET/FOLDER.

  Attributes:
    folder: of this computer, new and empty.
  """

  def __init__(self, bucket: Path):
    self._bucket = bucket
    self._temporary = tempfile.TemporaryDirectory(prefix='pspnet-')
    self.folder = Path(self._temporary.name)
    self._sent: dict[str, tuple[int, int]] = {}  # size and time of what is there by name

  def fetch(self, name: str) -> None:
    """Copies a file from there, if there is one."""
    with contextlib.suppress(FileNotFoundError):
      (self.folder / name).write_bytes((self._bucket / name).read_bytes())

  def send(self) -> None:
    """Copies there what has changed here.

    Raises:
      UserError: if it cannot be written there.
    """
    for path in sorted(self.folder.iterdir()):
      about = path.stat()
      now = about.st_size, about.st_mtime_ns
      if self._sent.get(path.name) != now:
        write_whole(self._bucket / path.name, path.read_bytes())
        self._sent[path.name] = now

  def close(self) -> None:
    """Removes the folder here."""
    self._temporary.cleanup()
