"""The exceptions for what a user can mend."""

import difflib
import re
import signal
from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
  """Bad input. The message is one sentence that names the file or value and the remedy.

  Commands print it without a traceback and exit with status 1; anything else that is raised is a
  defect of ours and keeps its traceback.

  Attributes:
    status: what a command exits with.
  """

  status = 1


class BadData(UserError):
  """A file of the data set that cannot be used as it is.

  Attributes:
    kind: what is wrong in two or three words, the same for every file with this fault.
  """

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind


class Stopped(UserError):
  """A signal asked to stop, and everything is saved. Commands exit with 128 + its number."""

  def __init__(self, message: str, signal_number: int = signal.SIGTERM):
    super().__init__(message)
    self.status = 128 + signal_number


class StoppedAlone(Stopped):
  """A signal ahead of the first step: the other processes are not asked, and end by it too."""


class PeerFailed(UserError):
  """Another of the processes that train together has failed; it says why (`runtime.peers`)."""


# What XLA says of a collective operation whose other end is gone: "UNKNOWN: Gloo AllGather failed".
# It is a JaxRuntimeError as a rule, and a ValueError where it is raised while one is compiled.
_XLA = re.compile(r'(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ')


def may_come_of_a_peer(error: BaseException | None) -> bool:
  """Whether what was raised here may be the consequence of another process' failure."""
  while error is not None:
    # JAX's own error by its name: commands that do without JAX ask, too.
    if isinstance(error, PeerFailed) or type(error).__name__ == 'JaxRuntimeError':
      return True
    if isinstance(error, (ValueError, RuntimeError)) and _XLA.match(str(error)):
      return True
    error = error.__cause__ or error.__context__
  return False


def cannot_write(path: Path, error: OSError) -> UserError:
  """The sentence for a path that the operating system refuses."""
  return UserError(f'cannot write to {path}: {error.strerror or error}.')


def nearest(name: str, known: Iterable[str]) -> str | None:
  """The known name that `name` was probably meant to be; None if none is like it."""
  return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)
