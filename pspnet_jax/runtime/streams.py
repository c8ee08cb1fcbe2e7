"""Standard output and error that are closed, broken or cannot encode: what is said ends no run."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO

from pspnet_jax.runtime.plain_text import in_lines, printable, printable_lines


def make_safe() -> None:
  """Prepares the standard streams of a command.

  A descriptor that the shell closed (`>&-`) would be that of the next file opened, and whatever
  prints there would write into it: it becomes the null device. A character that the encoding of a
  stream lacks is printed as an escape.
  """
  for descriptor in range(3):
    try:
      os.fstat(descriptor)
    except OSError:
      os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
  for name in ('stdout', 'stderr'):
    stream = getattr(sys, name)
    if stream is None:
      setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115
    elif hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')


def show_sentence(text: str) -> None:
  """Prints a sentence on standard error, after all that was printed before.

  It is one line; a terminal gets it in lines that are broken between words.
  """
  flush()
  text = printable(text)
  with contextlib.suppress(OSError, ValueError):  # no terminal
    text = in_lines(text, os.get_terminal_size(sys.stderr.fileno()).columns)
  show(text, sys.stderr)


def show(text: str, stream: IO[str] | None = None) -> None:
  """Prints lines of text, on standard output as a rule; a stream that fails is silent from then on.

  Nothing in the text acts on a terminal.
  """
  stream = stream or sys.stdout
  try:
    print(printable_lines(text), file=stream, flush=True)
  except (OSError, ValueError):
    silence(stream)


def show_cursor() -> None:
  """Brings back the cursor, which a progress bar has hidden, where the process ends at once."""
  if sys.__stdout__ is not None and sys.__stdout__.isatty():
    print('\x1b[?25h', file=sys.__stdout__, flush=True)


def flush() -> None:
  """Brings out what has been printed, so that the interpreter's end has no error to report."""
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except (OSError, ValueError):
      silence(stream)


def silence(stream: IO[str]) -> None:
  """Sends what is still to be printed there to nowhere: nobody reads it (`| head`)."""
  try:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
      os.dup2(null, stream.fileno())
    finally:
      os.close(null)
  except (OSError, ValueError):  # no file of the operating system
    pass
