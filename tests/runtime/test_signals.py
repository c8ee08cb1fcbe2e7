"""Signals that come while garbage is collected: they are late, and not lost."""

import gc
import signal
import threading
import time

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


class Deleted:
  def __del__(self):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize('interrupted', [collect, Deleted])
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


def test_no_thread_stays():
  before = threading.active_count()
  signals.raise_interrupts()
  assert threading.active_count() == before
