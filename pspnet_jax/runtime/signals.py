"""Signals that end a command wherever its main thread is, even in the middle of a collection.

Python drops an exception that is raised in a callback of its garbage collector, as JAX has one, of
a weak reference or in a `__del__`: it prints it and goes on, and the signal had no effect.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable
from types import FrameType

_LATER = 0.02  # seconds
_LATEST = 100  # times: what a collection waits for may never come

Handler = Callable[[int, FrameType | None], None]


def raising(make: Callable[[int], BaseException]) -> Handler:
  """A handler that raises what `make` makes of the signal's number, soon where not at once."""
  times = 0

  def handle(number: int, frame: FrameType | None) -> None:
    nonlocal times
    times += 1
    if times < _LATEST and _would_be_dropped(frame):
      main = threading.main_thread().ident
      assert main is not None
      again = threading.Timer(_LATER, signal.pthread_kill, (main, number))
      again.daemon = True
      again.start()
    else:
      times = 0
      raise make(number)

  return handle


def raise_interrupts() -> None:
  """Makes Ctrl-C a KeyboardInterrupt that is not dropped, where it is Python's own."""
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, raising(lambda number: KeyboardInterrupt()))


def _would_be_dropped(frame: FrameType | None) -> bool:
  collecting = {getattr(callback, '__code__', None) for callback in gc.callbacks}
  while frame is not None:
    of_weakrefs = frame.f_globals.get('__name__') in ('weakref', '_weakrefset')
    if of_weakrefs or frame.f_code in collecting or frame.f_code.co_name == '__del__':
      return True
    frame = frame.f_back
  return False
