"""Joining: where the processes are, and what cannot be. The rest: `test_meeting`, `test_peers`."""

import os
import subprocess
import sys
import threading

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import joining
from pspnet_jax.runtime.meeting import FailedAhead, meet
from pspnet_jax.runtime.meeting_place import Place
from tests.processes import free_port
from tests.tiny import ROOT


def join(coordinator=None, count=None, index=None, *, from_cluster=False, **timeouts):
  with joining.joined(coordinator, count, index, from_cluster=from_cluster, **timeouts) as others:
    return others


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
  for name in list(os.environ):
    if name.startswith(('SLURM_', 'OMPI_', 'KUBERNETES_')):
      monkeypatch.delenv(name)


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


def test_times_too_short_to_tell_anything_are_refused(monkeypatch):
  monkeypatch.setattr(joining, 'TELLING', 0.1)
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
  # A task that has a node to itself has all of its devices.
  monkeypatch.setenv('SLURM_STEP_NUM_NODES', '3')
  assert joining._place(None, None, None, from_cluster=True).devices is None
  monkeypatch.setenv('SLURM_STEP_NUM_NODES', '1')
  assert joining._place(None, None, None, from_cluster=True).devices == [0]


def test_of_several_open_mpi_processes_of_a_machine_each_has_one_device(monkeypatch):
  for name, value in {'SIZE': '4', 'RANK': '3', 'LOCAL_RANK': '1', 'LOCAL_SIZE': '2'}.items():
    monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', value)
  place = joining._place('node0:1', None, None, from_cluster=True)
  assert (place.count, place.index, place.devices) == (4, 3, [1])
  monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '1')
  assert joining._place('node0:1', None, None, from_cluster=True).devices is None


def test_a_process_that_is_lost_while_jax_joins_is_no_mistake(monkeypatch, capsys):
  statuses = []
  monkeypatch.setattr(joining.os, '_exit', statuses.append)
  guard = joining._Guard(Place('node0', 1234, 2, 1))
  guard.process_0_is_gone()
  guard.failed()
  assert statuses == [75]
  assert capsys.readouterr().err.startswith('Error: process 0 at node0:1234 has ended')


@pytest.mark.parametrize('fault', ['no config', 'a defect'])
def test_who_fails_ahead_of_joining_ends_the_others_too(fault, tmp_path):
  port, config = free_port(), tmp_path / 'none.py'
  env = dict(os.environ)
  if fault == 'a defect':  # of an installation, say
    config = 'camvid'
    (tmp_path / 'jax.py').write_text('raise OSError("broken on this machine")')
    env['PYTHONPATH'] = os.pathsep.join([str(tmp_path), str(ROOT)])
  command = [sys.executable, '-m', 'pspnet_jax.train', f'--config={config}']
  command += [f'--workdir={tmp_path}', f'--coordinator=127.0.0.1:{port}']
  command += ['--num_processes', '2', '--process_id', '1']
  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT)
  with pytest.raises(FailedAhead, match='process 1 failed before it came: ') as found:
    meet(Place('127.0.0.1', port, 2, 0), 60)
  assert found.value.status == 1
  assert ('none.py' if fault == 'no config' else 'broken on this machine') in str(found.value)
  said = process.communicate(timeout=60)[1].splitlines()
  assert process.returncode == 1
  first = 'Error' if fault == 'no config' else 'Traceback (most recent call last)'
  assert said[0].startswith(f'{first}:') and said[-1].startswith('Telling the others at 127.0.0.1')


@pytest.mark.parametrize('index', [0, 1])
def test_who_is_interrupted_while_it_waits_ends_the_others(index, monkeypatch):
  def interrupted(place, timeout):
    raise KeyboardInterrupt

  port, ended = free_port(), []

  def wait():
    try:
      meet(Place('127.0.0.1', port, 2, 1 - index), 60)
    except FailedAhead as e:
      ended.append(e)

  other = threading.Thread(target=wait)
  other.start()
  monkeypatch.setattr(joining, 'meet', interrupted)
  with pytest.raises(KeyboardInterrupt):
    join(f'127.0.0.1:{port}', 2, index)
  other.join(timeout=60)
  [failed] = ended
  assert str(failed).startswith(f'process {index} failed before it came: interrupted')
  assert failed.status == 130


@pytest.mark.parametrize('flags', [['--coordinator'], ['--process_id=x', '--coordinator=a:1']])
def test_where_the_others_are_is_not_known_nobody_is_told(flags, tmp_path):
  command = [sys.executable, '-m', 'pspnet_jax.train', f'--workdir={tmp_path}', *flags]
  ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
  assert ended.returncode == 1
  assert len(ended.stderr.splitlines()) == 1
