"""Meeting: who waits says for whom, and each mistake ends in a sentence. Processes are threads."""

import re
import socket
import threading
import time

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import meeting
from pspnet_jax.runtime.meeting import meet, tell_failure
from pspnet_jax.runtime.meeting_place import Failure, Place
from tests.processes import free_port


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
  monkeypatch.setattr(meeting, '_FIRST_LINE', 1.0)
  monkeypatch.setattr(meeting, '_NEXT_LINES', 1.0)


class Guest(threading.Thread):
  """A process that comes to meet the others; JAX listens at once, once it is process 0's turn."""

  def __init__(self, port, count, index, timeout=60.0):
    super().__init__(daemon=True)
    self.place, self.timeout, self.said = Place('127.0.0.1', port, count, index), timeout, None
    self.status = 0
    self.start()

  def run(self):
    try:
      meet(self.place, self.timeout)
      self.said = 'all met'
      if self.place.index == 0:
        with socket.create_server(('127.0.0.1', self.place.port)) as jax:
          jax.settimeout(2)
          while True:
            jax.accept()[0].close()
    except TimeoutError:
      pass
    except UserError as e:
      self.said, self.status = str(e), e.status


def said(*guests):
  for guest in guests:
    guest.join(timeout=60)
  return [guest.said for guest in guests]


def test_all_meet_whoever_comes_first():
  port = free_port()
  early = [Guest(port, 4, index) for index in (3, 1)]
  time.sleep(0.3)
  late = [Guest(port, 4, index) for index in (0, 2)]
  assert said(*early, *late) == ['all met'] * 4


def test_a_number_given_twice_is_refused_and_the_others_go_on():
  port = free_port()
  guests = [Guest(port, 3, index) for index in (0, 1)]
  time.sleep(1)
  [twice] = said(Guest(port, 3, 1))
  assert f'process with this number has come to 127.0.0.1:{port} already: give each' in twice
  assert said(*guests, Guest(port, 3, 2)) == ['all met'] * 3


def test_a_number_is_free_again_when_its_process_has_gone():
  port = free_port()
  first = Guest(port, 3, 0)
  with gone(port, b'pspnet 1 3\n'), gone(port, b'nothing\n'), gone(port, b'pspnet x 1 2\n'):
    time.sleep(1)
  assert said(first, Guest(port, 3, 1), Guest(port, 3, 2)) == ['all met'] * 3


def gone(port, says):
  until = time.monotonic() + 10
  while True:
    try:
      guest = socket.create_connection(('127.0.0.1', port))
    except OSError:
      assert time.monotonic() < until
      time.sleep(0.1)
    else:
      guest.sendall(says)
      return guest


def test_counts_that_differ_are_told():
  port = free_port()
  Guest(port, 3, 0, timeout=3)
  guest = Guest(port, 2, 1)
  [other] = said(guest)
  assert other == (
    f'--num_processes=2: process 0 at 127.0.0.1:{port} was given 3: give all the same.'
  )
  assert guest.status == 1  # there is something to mend


def test_who_does_not_come_is_waited_for_and_then_named(capsys):
  port = free_port()
  guests = Guest(port, 3, 0, timeout=2.5), Guest(port, 3, 1, timeout=6)
  zero, one = said(*guests)
  assert [guest.status for guest in guests] == [75, 75]  # a scheduler may start them again
  assert zero.startswith(f'process 2 of 3 did not come to 127.0.0.1:{port} within 2 s: check that')
  assert one.startswith(
    f'process 0 did not come at 127.0.0.1:{port} within 6 s (Connection refused): check that it'
  )
  lines = capsys.readouterr().err.splitlines()
  where = f'at 127.0.0.1:{port}, '
  assert any(re.fullmatch(f'Waiting for process 2 {where}2 of 2 s\\.', line) for line in lines), (
    lines
  )
  assert any(
    line.startswith(f'Waiting for process 0 (Connection refused) {where}') for line in lines
  )


def test_something_else_that_listens_there_is_not_waited_for_for_ever():
  with socket.create_server(('127.0.0.1', 0)) as silent:
    guest = Guest(silent.getsockname()[1], 2, 1, timeout=1)
    [found] = said(guest)
  assert guest.status == 75 and found.startswith('not all of 2 processes came to ')


def test_a_run_that_has_begun_already_does_not_notice(monkeypatch):
  """JAX's service answers whoever connects with a frame of HTTP/2."""
  with socket.create_server(('127.0.0.1', 0)) as jax:

    def answer():
      for _ in range(2):
        jax.accept()[0].sendall(b'\x00\x00\x12\x04\x00')

    threading.Thread(target=answer, daemon=True).start()
    [found] = said(Guest(jax.getsockname()[1], 2, 1, timeout=1))
  assert 'what listens there is something else, or a run that has begun already' in found


def test_a_name_that_is_not_known_is_said(monkeypatch):
  def unknown(*_, **__):
    raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

  monkeypatch.setattr(socket, 'create_connection', unknown)
  with pytest.raises(UserError, match='its name is not known here: Name or service not known'):
    meet(Place('no-such-host.invalid', 1, 2, 1), 1)


def test_a_port_in_use_is_named():
  with socket.create_server(('0.0.0.0', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f'cannot listen at port {port} .* give another one to all'):
      meet(Place('127.0.0.1', port, 2, 0), 5)


def test_one_that_fails_before_it_comes_ends_all_with_its_status():
  port = free_port()
  waiting = [Guest(port, 4, 0), Guest(port, 4, 1)]
  time.sleep(0.5)
  tell_failure(Place('127.0.0.1', port, 4, 3), Failure(3, 9, "no config\nof this 'name'."), 30)
  late = Guest(port, 4, 2)
  for guest, sentence in zip([*waiting, late], said(*waiting, late), strict=True):
    assert guest.status == 9
    assert sentence == (
      "process 3 failed before it came: no config of this 'name': start all again."
    )


def test_process_0_that_fails_before_it_comes_tells_all_that_come():
  port = free_port()
  early = Guest(port, 3, 1)
  told = threading.Thread(
    target=tell_failure, args=(Place('127.0.0.1', port, 3, 0), Failure(0, 1, 'why'), 30)
  )
  told.start()
  time.sleep(0.5)
  late = Guest(port, 3, 2)
  assert said(early, late) == ['process 0 failed before it came: why: start all again.'] * 2
  told.join(timeout=20)
  assert not told.is_alive()


def test_where_all_fail_nobody_waits():
  port, began = free_port(), time.monotonic()
  threads = [
    threading.Thread(
      target=tell_failure, args=(Place('127.0.0.1', port, 3, index), Failure(index, 1, 'why'), 30)
    )
    for index in (2, 0, 1)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert time.monotonic() < began + 15


def test_a_failure_is_told_for_a_time_only():
  began = time.monotonic()
  tell_failure(Place('127.0.0.1', free_port(), 2, 1), Failure(1, 1, 'why'), 1)
  tell_failure(Place('127.0.0.1', free_port(), 2, 0), Failure(0, 1, 'why'), 1)
  assert time.monotonic() < began + 10


@pytest.mark.parametrize(
  'rest',
  ['', 'x 3 1 why', '1 3 1', '1 3 256 why', '1 3 0 why', '-1 3 1 why', '1 4 1 why', '3 3 1 w'],
)
def test_words_of_a_stranger_are_no_failure(rest):
  assert Failure.of(rest, 3) is None


def test_neither_a_stranger_nor_a_number_given_twice_ends_those_who_wait():
  port = free_port()
  waiting = [Guest(port, 3, 0), Guest(port, 3, 1)]
  time.sleep(0.5)
  for line in (b'failed\n', b'failed 9 3 1 why\n', b'failed 1 3 1 a second one\n', b'pspnet\n'):
    with socket.create_connection(('127.0.0.1', port)) as stranger:
      stranger.sendall(line)
      time.sleep(0.3)
  assert said(*waiting, Guest(port, 3, 2)) == ['all met'] * 3


def test_a_stranger_does_not_keep_process_0_from_telling():
  port = free_port()
  told = threading.Thread(
    target=tell_failure, args=(Place('127.0.0.1', port, 2, 0), Failure(0, 1, 'why'), 30)
  )
  told.start()
  time.sleep(0.5)
  for line in (b'failed\n', b'pspnet 77 2\n'):
    with socket.create_connection(('127.0.0.1', port)) as stranger:
      stranger.sendall(line)
      time.sleep(0.3)
  assert said(Guest(port, 2, 1)) == ['process 0 failed before it came: why: start all again.']
  told.join(timeout=20)
