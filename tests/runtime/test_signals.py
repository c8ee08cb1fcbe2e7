"""Signals that come while garbage is collected: they are late, and not lost."""

import gc
import signal
import sys
import threading
import time
import weakref

import pytest

from pspnet_jax.runtime import signals


@pytest.fixture(autouse=True)
def as_before():
  before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
  yield
  for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
    signal.signal(number, handler)


def collect():
  """Collects garbage, with a callback during which Ctrl-C comes; the first time only."""
  came = []

  def callback(phase, info):
    if not came:
      came.append(phase)
      signal.raise_signal(signal.SIGINT)

  gc.callbacks.append(callback)
  try:
    gc.collect()
  finally:
    gc.callbacks.remove(callback)
  assert came


def drop_a_weakly_held():
  """Removes something from a set of weak references, whose callback Ctrl-C comes in."""

  class Held:
    pass

  held, came = Held(), []
  kept = weakref.WeakSet([held])

  def trace(frame, event, arg):
    if frame.f_code.co_name == '_remove' and not came:
      came.append(event)
      signal.raise_signal(signal.SIGINT)

  before = sys.gettrace()
  sys.settrace(trace)
  try:
    del held
  finally:
    sys.settrace(before)
  assert came and not kept


class Deleted:
  def __del__(self):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize('interrupted', [collect, Deleted, drop_a_weakly_held])
def test_an_interrupt_in_the_middle_of_a_collection_comes_after_it(interrupted):
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signals.raise_interrupts()
  began = time.monotonic()
  with pytest.raises(KeyboardInterrupt):
    interrupted()
    while time.monotonic() < began + 20:
      time.sleep(0.01)
  assert time.monotonic() < began + 10


def test_elsewhere_it_comes_at_once():
  signal.signal(signal.SIGTERM, signals.raising(lambda number: OSError(number, 'a signal')))
  with pytest.raises(OSError, match='a signal') as found:
    signal.raise_signal(signal.SIGTERM)
  assert found.value.errno == signal.SIGTERM


@pytest.mark.parametrize('handler', [signal.SIG_IGN, print])
def test_whoever_answers_or_ignores_interrupts_goes_on_doing_so(handler):
  signal.signal(signal.SIGINT, handler)
  signals.raise_interrupts()
  assert signal.getsignal(signal.SIGINT) is handler


def test_what_never_ends_is_interrupted_all_the_same(monkeypatch):
  monkeypatch.setattr(signals, '_LATEST', 5)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signals.raise_interrupts()
  ended = []

  class Waiting:
    def __del__(self):
      signal.raise_signal(signal.SIGINT)
      try:
        time.sleep(20)
      except KeyboardInterrupt:
        ended.append(True)

  began, threads = time.monotonic(), threading.active_count()
  Waiting()
  assert ended and time.monotonic() < began + 10
  deadline = time.monotonic() + 10
  while threading.active_count() > threads and time.monotonic() < deadline:
    time.sleep(0.01)
  assert threading.active_count() <= threads  # no timer of a signal stays
