"""One fails, all know: real processes that only join each other, and the table they share."""

import contextlib
import signal
import threading
import time

import pytest

from pspnet_jax.errors import PeerFailed, Stopped, StoppedAlone, UserError
from pspnet_jax.runtime import joining
from pspnet_jax.runtime.notes import Notes
from pspnet_jax.runtime.peers import Peers
from pspnet_jax.runtime.same_step import SameStep
from pspnet_jax.training.stop_signals import StopSignals
from tests import processes

KEPT = 'the checkpoint of step 20 is saved'


class Table:
  """Stands for JAX's table; as there, what is written stays unless it may be overwritten."""

  def __init__(self, lost=0):
    self.values = {}
    self.lost = lost  # so many notes never come

  def key_value_set(self, key, value, allow_overwrite=False):
    if self.lost and not allow_overwrite:
      self.lost -= 1
      raise RuntimeError('DEADLINE_EXCEEDED')
    if not allow_overwrite and key in self.values:
      raise RuntimeError('ALREADY_EXISTS')
    self.values[key] = value

  def key_value_dir_get(self, key):
    return [item for item in self.values.items() if item[0].startswith(key)]


def test_the_first_note_of_a_name_stays_and_beats_change():
  notes = Notes(Table())
  notes.write('failed', 'first')
  notes.write('failed', 'second')
  notes.write('at/0', '5')
  notes.write('at/12', '6')
  notes.beat(3, 1)
  notes.beat(3, 2)
  notes.read()
  assert notes.found == {'failed': 'first', 'at/0': '5', 'at/12': '6'}
  assert notes.of('at') == {0: '5', 12: '6'} and notes.beats() == {3: '2'}


@pytest.mark.parametrize('ahead', [0, 1, 7])
def test_all_stop_after_the_same_step_wherever_they_are(ahead):
  """Three processes as threads; one is `ahead` steps before the others when a signal comes."""
  table, stopped = Table(), [None] * 3
  asked = threading.Event()

  def run(index):
    notes = Notes(table)
    step = SameStep(notes, index, 3, timeout=20)
    over = threading.Event()

    def watch():
      while not over.wait(0.01):
        notes.read()
        step.answer()

    threading.Thread(target=watch, daemon=True).start()
    for now in range(1, 10_000):
      if now == 5 + ahead * (index == 2):
        if index == 1:
          step.ask(signal.SIGINT)
          step.ask(signal.SIGTERM)  # the first counts
          asked.set()
        asked.wait()
      if step.reached(now):
        stopped[index] = now, step.signal, step.process
        break
      time.sleep(0.002)
    over.set()

  threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(timeout=60)
  [found] = set(stopped)
  assert found[0] >= 5 and found[1:] == (signal.SIGINT, 1)


def test_a_signal_whose_note_is_lost_is_told_again():
  notes = Notes(Table(lost=2))
  step = SameStep(notes, 0, 1, timeout=20)
  step.ask(signal.SIGINT)
  for _ in range(4):
    notes.read()
    step.answer()
  assert step.signal == signal.SIGINT and step.reached(0)


def test_a_good_end_whose_note_is_lost_is_told_again():
  peers = Peers(Table(lost=2), 0, 1, timeout=60)

  def leave():  # no main thread, and so without its signals
    peers.start()
    peers.leave()

  thread = threading.Thread(target=leave, daemon=True)
  thread.start()
  thread.join(timeout=60)
  assert not thread.is_alive()


@pytest.fixture
def stopped_in_silence():
  """One process, whose main thread took the exception of a signal for something else."""
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
  peers = Peers(Table(), 0, 1, timeout=60)
  peers.start()
  with contextlib.suppress(UserError):
    signal.raise_signal(signal.SIGTERM)
  yield peers
  peers.leave()
  for number, handler in before.items():
    signal.signal(number, handler)


def test_a_signal_that_was_swallowed_ends_the_run_ahead_of_its_first_step(stopped_in_silence):
  handler = signal.getsignal(signal.SIGTERM)
  with pytest.raises(StoppedAlone, match='SIGTERM: stopped'), StopSignals(processes=1):
    raise AssertionError('training began')
  assert signal.getsignal(signal.SIGTERM) == handler


def test_a_signal_that_was_swallowed_is_no_good_end(stopped_in_silence, monkeypatch):
  ends = []
  monkeypatch.setattr(stopped_in_silence, 'end_by', ends.append)
  monkeypatch.setattr(stopped_in_silence, 'start', lambda: None)
  monkeypatch.setattr(joining, '_join', lambda *_: stopped_in_silence)
  with (
    pytest.raises(StoppedAlone),
    joining.joined('node0:1234', 1, 0, from_cluster=False),
  ):
    pass
  assert [error.status for error in ends] == [143]


def test_who_is_not_answered_does_not_wait_for_ever():
  notes = Notes(Table())
  step = SameStep(notes, 0, 2, timeout=0.1)
  step.ask(signal.SIGTERM)
  notes.read()
  step.answer()
  with pytest.raises(PeerFailed, match='do not say which step'):
    step.reached(3)


def test_the_sentence_of_one_ends_all_with_its_status_wherever_they_wait():
  mistake = "e = UserError('b.png is damaged: mend it.'); e.status = 3; time.sleep(1); raise e"
  found = processes.ends(
    processes.start(3, {0: processes.COLLECTIVE, 1: mistake, 2: 'time.sleep(1000)'})
  )
  assert {status for status, _ in found.values()} == {3}, found
  assert found[1][1] == f'Error: b.png is damaged: mend it.\nAll 3 processes end; {KEPT}.\n'
  others = f'Error: process 1 failed: b.png is damaged: mend it; {KEPT}: start all again.\n'
  assert found[0][1] == found[2][1] == others


@pytest.mark.parametrize(
  'what',
  [
    # A thread of Orbax that has failed to write, while all main threads wait.
    (
      'import types; error = UserError("the disk is full."); others.write = '
      'types.SimpleNamespace(has_failed=lambda: True, failure=lambda: error); time.sleep(200)'
    ),
    # On the way out of a run, which waits for its checkpoint.
    'with others.leaving_by(UserError("the disk is full.")): time.sleep(200)',
  ],
)
def test_who_fails_and_waits_for_the_others_ends_all(what):
  started = processes.start(2, {0: processes.COLLECTIVE, 1: what})
  ended = processes.ends(started)
  assert {status for status, _ in ended.values()} == {1}
  assert ended[1][1].startswith('Error: the disk is full.\n')
  assert 'Error: process 1 failed: the disk is full' in ended[0][1]


def test_who_has_left_a_run_in_time_goes_on(monkeypatch):
  peers = Peers(Table(), 0, 2, timeout=0.6)
  ended = []
  monkeypatch.setattr(peers, 'end_by', ended.append)
  with peers.leaving_by(UserError('the disk is full.')):
    pass
  with peers.leaving_by(Stopped('as all have')):
    time.sleep(0.5)
  time.sleep(0.5)
  assert not ended
  error = UserError('the disk is full.')
  with peers.leaving_by(error):
    time.sleep(0.5)
  assert ended == [error]


def test_what_is_a_defect_of_ours_keeps_its_traceback_where_it_is():
  found = processes.ends(processes.start(2, {0: 'x = 1 / 0', 1: processes.COLLECTIVE}))
  assert [found[i][0] for i in range(2)] == [1, 1]
  assert 'Traceback' in found[0][1] and 'ZeroDivisionError: division by zero' in found[0][1]
  assert found[1][1].startswith('Error: process 0 failed: ZeroDivisionError: division by zero; ')
  assert len(found[1][1].splitlines()) == 1


@pytest.mark.parametrize('victim', [0, 1])
def test_a_process_that_is_killed_ends_the_others_in_a_sentence(victim):
  started = processes.start(3, dict.fromkeys(range(3), 'time.sleep(1000)'))
  processes.wait_until_joined(*started.values())
  started[victim].kill()
  found = processes.ends(started)
  assert found.pop(victim)[0] == -signal.SIGKILL
  for status, error in found.values():
    assert status == 75 and error == (
      f'Error: process {victim} was lost: it was killed, or its machine or the network failed; '
      f'{KEPT}: start all again.\n'
    )


def test_a_signal_ahead_of_the_first_step_ends_all_with_its_status():
  started = processes.start(2, {0: 'time.sleep(1000)', 1: processes.COLLECTIVE})
  processes.wait_until_joined(*started.values())
  started[0].send_signal(signal.SIGHUP)
  found = processes.ends(started)
  assert [found[i][0] for i in range(2)] == [129, 129], found
  assert found[0][1] == f'Error: SIGHUP: stopped.\nAll 2 processes end; {KEPT}.\n'
  assert found[1][1].startswith('Error: process 0 failed: SIGHUP: stopped; ')


def test_a_good_end_waits_for_the_others():
  begins = 'began = time.monotonic()'
  found = processes.ends(processes.start(2, {0: begins, 1: f'{begins}; time.sleep(4)'}))
  assert found == {0: (0, ''), 1: (0, '')}
