"""Set-up that has to come before JAX and torch are imported, and what many tests share."""

import functools
import os
import signal

from tests import quick

# Eight CPU devices, so that sharding is tested in-process; everything else runs on the first.
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {quick.flags(devices=8)}'.strip()
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['JAX_ENABLE_COMPILATION_CACHE'] = '0'  # nothing into the user's home
os.environ.setdefault('OMP_NUM_THREADS', '1')  # torch, whose tensors are tiny here
# Tests that run in the background hand down that SIGINT is ignored, to processes they send it to.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # and nohup, that SIGHUP is
  signal.signal(signal.SIGHUP, signal.SIG_DFL)

import jax
import pytest

from tests import mutations  # noqa: F401  (the profiles of --hypothesis-profile)

# A network of seconds: one block a stage, a few channels. Tests vary it with dict(TINY, ...).
TINY = {
  'depth': 10,
  'stem_channels': (4, 4, 8),
  'width': 4,
  'head_channels': 12,
  'aux_channels': 6,
}


@pytest.fixture
def tiny() -> dict:
  """Options of a small network, for `Network(num_classes, **tiny)`."""
  return dict(TINY)


@pytest.fixture
def x64():
  """float64 for the length of a test."""
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope='session')
def _storage():
  from tests.runtime import bucket_server  # sets what gcsfs reads when it is imported

  pytest.importorskip('gcsfs')
  with bucket_server.serve() as storage:
    yield storage


@pytest.fixture
def bucket(_storage, monkeypatch):
  """An empty bucket on this machine, gs://scenes, for this process and those it starts."""
  from tests.runtime import bucket_server

  _storage.reset()
  bucket_server.use(_storage, monkeypatch)
  yield _storage
  _storage.reset()


@pytest.fixture
def one_device(monkeypatch):
  """Runs the commands in this process as on a machine with one device: an eighth to compile."""
  use_one_device(monkeypatch)


def use_one_device(monkeypatch):
  """What `one_device` does, for a fixture of a module."""
  from pspnet_jax.runtime import parallel

  make_mesh = functools.partial(jax.make_mesh, (1,), ('data',), (jax.sharding.AxisType.Auto,))
  monkeypatch.setattr(
    parallel, 'make_mesh', lambda local=False: make_mesh(devices=jax.devices()[:1])
  )
