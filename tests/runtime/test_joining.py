"""Joining: each mistake ends in a sentence, and who waits says so."""

import re
import socket
import threading
import time

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import joining
from tests import processes


def join(coordinator=None, count=None, index=None, *, from_cluster=False, **timeouts):
  with joining.joined(coordinator, count, index, from_cluster=from_cluster, **timeouts) as others:
    return others


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
  for name in ('SLURM_JOB_ID', 'OMPI_MCA_orte_hnp_uri', 'OMPI_COMM_WORLD_SIZE'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.delenv('KUBERNETES_SERVICE_HOST', raising=False)


def test_a_process_alone_joins_nobody():
  assert join() is None


@pytest.mark.parametrize(
  ('given', 'says'),
  [
    (('a:1', 2, None), 'go together: give all three'),
    (('node0', 2, 0), '--coordinator=node0: give HOST:PORT'),
    (('node0:x', 2, 0), '--coordinator=node0:x: give HOST:PORT'),
    (('node0:70000', 2, 0), 'give HOST:PORT'),
    (('node0:1', 0, 0), '--num_processes=0: '),
    (('node0:1', 2, 2), '--process_id=2: 2 process.es. have the numbers 0 to 1'),
    (('node0:1', 2, -1), '--process_id=-1: '),
  ],
)
def test_what_cannot_be_is_refused_at_once(given, says):
  with pytest.raises(UserError, match=says):
    join(*given)


def test_times_too_short_to_tell_anything_are_refused():
  with pytest.raises(UserError, match='--peer_timeout=5: give at least 20 seconds'):
    join('node0:1', 2, 0, peer_timeout=5)
  with pytest.raises(UserError, match='--join_timeout=0: give at least 1 seconds'):
    join('node0:1', 2, 0, timeout=0)


def test_where_no_cluster_is_found_the_flags_are_named(monkeypatch):
  with pytest.raises(UserError, match=r'neither Slurm, .* by --coordinator=HOST:PORT'):
    join(from_cluster=True)
  monkeypatch.setenv('KUBERNETES_SERVICE_HOST', '10.0.0.1')
  with pytest.raises(UserError, match='pip install kubernetes'):
    join(from_cluster=True)
  monkeypatch.delenv('KUBERNETES_SERVICE_HOST')
  monkeypatch.setenv('OMPI_COMM_WORLD_SIZE', '2')
  monkeypatch.setenv('OMPI_COMM_WORLD_RANK', '2')
  with pytest.raises(UserError, match='add --coordinator=HOST:PORT'):
    join(from_cluster=True)
  # With it, Open MPI's own variables do.
  with pytest.raises(UserError, match='--process_id=2: 2 process'):
    join('node0:1', from_cluster=True)


def test_slurm_tells_all(monkeypatch):
  settings = {'JOB_ID': '4097', 'STEP_NODELIST': 'node[3-5]', 'NTASKS': '3', 'PROCID': '1'}
  for name, value in {**settings, 'LOCALID': '0'}.items():
    monkeypatch.setenv(f'SLURM_{name}', value)
  place = joining._place(None, None, None, from_cluster=True)
  assert (place.host, place.count, place.index, list(place.devices)) == ('node3', 3, 1, [0])


def test_a_port_in_use_is_named():
  with socket.socket() as taken:
    taken.bind(('0.0.0.0', 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f'cannot listen at port {port} .* give another one to all'):
      joining._check_free(port)
  joining._check_free(port)


def ended(found):
  [(status, error)] = found.values()
  return status, error.splitlines()


def test_a_coordinator_that_does_not_come_is_waited_for_and_then_named():
  port = processes.free_port()
  status, lines = ended(processes.ends(processes.start(2, {1: ''}, port=port, timeout=4)))
  where = f'at 127.0.0.1:{port}'
  assert status == 1 and len(lines) == 3, lines
  assert re.fullmatch(
    rf'Waiting for process 0 \(Connection refused\) {where}, \d of 4 s\.', lines[0]
  )
  assert lines[2].startswith(
    f'Error: process 0 did not come {where} within 4 s (Connection refused): check that it runs'
  )


def test_a_process_that_does_not_come_is_waited_for_and_then_said():
  port = processes.free_port()
  status, lines = ended(processes.ends(processes.start(2, {0: ''}, port=port, timeout=4)))
  assert status == 1 and len(lines) == 3, lines
  assert lines[0].startswith(f'Waiting for the other 1 of 2 processes at 127.0.0.1:{port}, ')
  assert lines[2].startswith(f'Error: not all of 2 processes came to 127.0.0.1:{port} within 4 s')


def test_who_listens_and_is_no_process_0_is_not_waited_for_for_ever():
  with socket.create_server(('127.0.0.1', 0)) as other:
    found = processes.ends(processes.start(2, {1: ''}, port=other.getsockname()[1], timeout=3))
  status, lines = ended(found)
  assert status == 1 and lines[-1].startswith('Error: not all of 2 processes came'), lines


def test_a_name_that_is_not_known_is_said(monkeypatch):
  waiting = joining._Waiting(joining._Place('no-such-host.invalid', 1, 2, 1, None), 1000)
  ends, ended = [], threading.Event()

  def end(sentence):
    ends.append(sentence)
    ended.set()

  monkeypatch.setattr(waiting, '_end', end)

  def stop(seconds):
    waiting._timeout = 0
    ended.wait(10)
    raise InterruptedError

  monkeypatch.setattr(time, 'sleep', stop)
  monkeypatch.setattr(socket, 'create_connection', unknown)
  with pytest.raises(InterruptedError):
    waiting.until_process_0_listens()
  assert 'its name is not known here' in ends[0]


def unknown(*_, **__):
  raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
