"""A small table that all processes that train together read and write; process 0 keeps it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Protocol

_NOTES, _BEATS = 'pspnet/notes/', 'pspnet/beats/'


class Store(Protocol):
  """What is used of JAX's client of its coordination service."""

  def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...
  def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...


@dataclasses.dataclass(frozen=True)
class Reason:
  """What ends all processes: which one it was, what happened to it, and the status of all."""

  index: int
  what: str
  status: int

  def text(self) -> str:
    """Returns it as the value of a note."""
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def of(cls, text: str) -> Reason:
    """Reads the value of a note."""
    return cls(**json.loads(text))


class Notes:
  """The table: notes by name, of which the first that is written stays, and a beat of each process.

  Attributes:
    found: the notes as they were when last read.
  """

  def __init__(self, store: Store):
    self._store = store
    self.found: dict[str, str] = {}

  def read(self) -> None:
    """Reads all notes; raises what JAX raises, or waits for ever, if process 0 is gone."""
    found = self._store.key_value_dir_get(_NOTES)
    self.found = {key.removeprefix(_NOTES): value for key, value in found}

  def write(self, name: str, value: str = '') -> None:
    """Writes a note, unless there is one of that name, or process 0 does not answer.

    What is waited for has to be written again until it is in `found`.
    """
    with contextlib.suppress(Exception):
      self._store.key_value_set(_NOTES + name, value)

  def of(self, kind: str) -> dict[int, str]:
    """Those called KIND/INDEX, which each process writes one of, by index."""
    return {
      int(name.removeprefix(f'{kind}/')): value
      for name, value in self.found.items()
      if name.startswith(f'{kind}/')
    }

  def beat(self, index: int, count: int) -> None:
    """Writes that a process is there: a number that changes."""
    self._store.key_value_set(f'{_BEATS}{index}', str(count), allow_overwrite=True)

  def beats(self) -> dict[int, str]:
    """The beat of each process, by its index."""
    found = self._store.key_value_dir_get(_BEATS)
    return {int(key.removeprefix(_BEATS)): value for key, value in found}
