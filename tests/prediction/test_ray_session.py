"""How Ray is started, and what is said where it cannot be."""

import socket
import sys

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.prediction import ray_session


def test_without_ray_there_is_a_sentence(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with (
    pytest.raises(UserError, match=r"needs Ray: pip install 'pspnet_jax\[scale\]'"),
    ray_session.started(None, None),
  ):
    pass


@pytest.mark.parametrize('address', ['head', 'ray://head:10001', ':1', 'head:', 'head:port'])
def test_an_address_is_a_host_and_a_port(address):
  with pytest.raises(UserError, match='give HOST:PORT of a Ray cluster'):
    ray_session._check_answers(address)


def test_an_address_where_nothing_listens_is_said():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'  # bound, and not listening
    with pytest.raises(UserError, match=f'--address={address}: nothing answers there'):
      ray_session._check_answers(address)


def test_whoever_listens_and_is_no_cluster_is_given_up(monkeypatch):
  pytest.importorskip('ray')
  monkeypatch.setattr(ray_session, '_ANSWERS', 3.0)
  with socket.create_server(('127.0.0.1', 0)) as silent:
    address = f'127.0.0.1:{silent.getsockname()[1]}'
    with pytest.raises(UserError, match=r'cannot be joined \(no answer within 3 s\)'):
      ray_session._check_answers(address)
