"""Real signals: answered at once, whatever the main thread is doing."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from pspnet_jax.errors import Stopped
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.training.stop_signals import StopSignals
from tests import tiny

FIRST = 'SIGINT: stopping after this image; a second one stops at once.\n'
SECOND = 'SIGINT again: stopping at once; what is saved already stays.\n'


def interrupt():
  os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_is_answered_and_remembered(capsys):
  with StopSignals(after='this image') as stop:
    stop.check()
    interrupt()
    assert stop.requested and stop.received == signal.SIGINT
    with pytest.raises(Stopped, match='SIGINT') as raised:
      stop.check()
  assert raised.value.status == 130
  assert capsys.readouterr().err == FIRST


def test_a_second_signal_acts_as_usual(capsys):
  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt), StopSignals(after='this image') as stop:
    interrupt()
    assert stop.requested
    interrupt()
    time.sleep(10)
  assert capsys.readouterr().err == FIRST + SECOND
  assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_others_ask_to_stop_too_unless_they_are_ignored(number, capsys):
  before = signal.getsignal(number)
  with StopSignals() as stop:
    os.kill(os.getpid(), number)
    assert stop.received == number and stop.reached(1)
  assert signal.getsignal(number) == before and number.name in capsys.readouterr().err
  signal.signal(number, signal.SIG_IGN)  # as nohup does
  try:
    with StopSignals() as stop:
      os.kill(os.getpid(), number)
      assert not stop.requested
    assert signal.getsignal(number) == signal.SIG_IGN
  finally:
    signal.signal(number, before)


def test_of_several_processes_that_do_not_watch_each_other_none_takes_signals():
  before = signal.getsignal(signal.SIGTERM)
  with StopSignals(processes=2):
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_answer_says_what_is_waited_for(capsys):
  with StopSignals() as stop:
    with stop.while_doing('this checkpoint is saved'):
      interrupt()
    assert stop.requested
  answer = 'SIGINT: stopping after this checkpoint is saved; a second one stops at once.\n'
  assert capsys.readouterr().err == answer


# A thread that computes in C takes no signal, as one that compiles: here for hours.
BUSY = """
import hashlib
from pspnet_jax.training.stop_signals import StopSignals
with StopSignals(after='this image', owns_process=True):
  print('busy', flush=True)
  hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_a_main_thread_that_computes_does_not_keep_the_answer_back(number):
  process = subprocess.Popen(
    [sys.executable, '-c', BUSY],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=tiny.ROOT,
  )
  try:
    assert process.stdout.readline() == 'busy\n'
    process.send_signal(number)
    assert process.stderr.readline() == FIRST.replace('SIGINT', number.name)
    assert process.poll() is None
    process.send_signal(number)
    assert process.stderr.readline() == SECOND.replace('SIGINT', number.name)
    # The thread ends it; or the main thread does, where the first came before it computed.
    assert process.wait(timeout=60) in (128 + number, -number)
  finally:
    process.kill()
    process.communicate()


def test_the_answer_stands_above_the_bar():
  out = io.StringIO()
  console = Console(file=out, force_terminal=True, width=80)
  with Reporter(None, total_steps=50, console=console) as report, StopSignals():
    report.advance(10)
    interrupt()
    report.line(10, {'loss': 1.0})
  text = re.sub(r'\x1b\[[0-9;]*m', '', out.getvalue())  # colours
  before, _, after = text.partition('SIGINT: stopping after this step; a second one stops at once.')
  assert before.endswith('\x1b[2K')  # where the bar was
  assert after.startswith('\n') and '━' in after  # which is drawn again below
