"""The connection to process 0 that outlives it."""

import os
import socket
import tempfile
import threading

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.relay import Relay


def test_bytes_go_both_ways_and_the_end_is_told_while_the_near_side_stays_open():
  lost = threading.Event()
  with socket.create_server(('127.0.0.1', 0)) as server:
    relay = Relay('127.0.0.1', server.getsockname()[1], lost.set)
    near = socket.socket(socket.AF_UNIX)
    near.connect(relay.address.removeprefix('unix:'))
    far, _ = server.accept()
    relay.close()  # takes no other connection
    for a, b in ((near, far), (far, near)):
      a.sendall(b'x' * 100_000)
      assert len(b.recv(100_000, socket.MSG_WAITALL)) == 100_000
    assert not lost.is_set()
    far.close()
  assert lost.wait(10)
  near.settimeout(0.3)
  with pytest.raises(TimeoutError):  # no end of it
    near.recv(1)
  near.close()


def test_a_process_0_that_cannot_be_reached_is_lost():
  lost = threading.Event()
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
  relay = Relay('127.0.0.1', port, lost.set)
  with socket.socket(socket.AF_UNIX) as near:
    near.connect(relay.address.removeprefix('unix:'))
    assert lost.wait(10)
  relay.close()


def test_a_long_path_of_temporary_files_does_not_matter(tmp_path, monkeypatch):
  """The name of a socket file has 107 bytes at most."""
  folder = tmp_path / ('x' * 120)
  folder.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(folder))
  relay = Relay('127.0.0.1', 1, lambda: None)
  path = relay.address.removeprefix('unix:')
  assert os.path.exists(path) and not any(folder.iterdir())
  relay.close()
  assert not os.path.exists(os.path.dirname(path))


def test_where_no_folder_takes_it_tmpdir_is_named(monkeypatch):
  def refused(**_):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(tempfile, 'mkdtemp', refused)
  with pytest.raises(UserError, match=r'Permission denied\): set TMPDIR to a folder with a short'):
    Relay('127.0.0.1', 1, lambda: None)
