"""Mesh, batches and sums over devices."""

import contextlib
import signal

import jax
import numpy as np
import pytest

from pspnet_jax.errors import PeerFailed, Stopped, UserError
from pspnet_jax.runtime import parallel


def test_prefetch_keeps_order_and_splits_over_all_devices():
  mesh = parallel.make_mesh()
  batches = [{'image': np.full((16, 2), i, np.uint8)} for i in range(5)]
  found = list(parallel.prefetch(iter(batches), mesh, depth=2))
  assert [int(b['image'][0, 0]) for b in found] == list(range(5))
  assert len(found[0]['image'].sharding.device_set) == jax.device_count() == 8
  assert found[0]['image'].addressable_shards[0].data.shape == (2, 2)


def test_prefetch_stays_its_depth_ahead():
  taken = []

  def batches():
    for i in range(9):
      taken.append(i)
      yield {'image': np.zeros((8, 1), np.uint8)}

  stream = parallel.prefetch(batches(), parallel.make_mesh(), depth=3)
  next(stream)
  assert taken == [0, 1, 2]


@pytest.mark.parametrize(('size', 'parts'), [(6, 1), (0, 1), (8, 2)])
def test_batch_size_must_divide(size, parts):
  with pytest.raises(UserError, match=f'batch size {size} does not divide among 8'):
    parallel.check_batch_size(size, parallel.make_mesh(), parts)


def test_local_view_of_replicated_arrays():
  mesh = parallel.make_mesh()
  x = jax.device_put(np.arange(3.0), parallel.replicated(mesh))
  local = parallel.local_view({'x': x})['x']
  assert local.devices() == {jax.devices()[0]}
  np.testing.assert_array_equal(local, np.arange(3.0))


def test_sum_over_one_process_is_the_array():
  x = np.array([[2**40, 1]])
  np.testing.assert_array_equal(parallel.sum_over_processes(x), x)


def test_all_go_by_the_array_of_the_first(monkeypatch):
  sent = []

  def sum_over_processes(x):
    sent.append(x)
    return x + (sent[len(sent) - 3] if len(sent) > 2 else 0)

  monkeypatch.setattr(parallel, 'sum_over_processes', sum_over_processes)
  for index, own in enumerate(([7, 2**40], [9])):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    found = parallel.of_first(np.array(own, np.int64))
    assert found.tolist() == [7, 2**40] and found.dtype == np.int64


def test_what_differs_between_processes_is_named(monkeypatch):
  """Three processes after one another; what is summed is the sum of their tables."""
  given = [{'seed': 1, 'size': (3, 4), 'data': 'a'}] * 2 + [
    {'seed': 1, 'size': [3, 4], 'data': 'b'}
  ]
  tables = []

  def differing(index, total=None):
    monkeypatch.setattr(jax, 'process_count', lambda: 3)
    monkeypatch.setattr(jax, 'process_index', lambda: index)

    def sum_over_processes(table):
      tables.append(table)
      return table if total is None else total

    monkeypatch.setattr(parallel, 'sum_over_processes', sum_over_processes)
    return parallel.differing(given[index])

  for index in range(3):
    differing(index)
  total = sum(tables)
  assert all(differing(index, total) == ['data'] for index in range(3))
  monkeypatch.undo()
  assert parallel.differing(given[0]) == []  # alone


def test_stopped_in_one_process_is_stopped_in_all(monkeypatch):
  sent = []

  def sum_over_processes(x):
    sent.append(x)
    return sum(sent)

  monkeypatch.setattr(parallel, 'sum_over_processes', sum_over_processes)
  with parallel.stopping_together():
    pass
  with pytest.raises(Stopped, match='by hand') as here, parallel.stopping_together():
    raise Stopped('by hand', signal.SIGHUP)
  with pytest.raises(Stopped, match='in another process') as there, parallel.stopping_together():
    pass
  assert here.value.status == there.value.status == 129


@pytest.mark.parametrize('failures', [0, 1])
def test_a_failure_in_one_process_ends_all(monkeypatch, failures):
  """What the block said goes on; who heard of another's failure says so."""
  counted = []

  def sum_over_processes(x):
    counted.append(int(x[0]))
    return x + failures

  monkeypatch.setattr(parallel, 'sum_over_processes', sum_over_processes)
  with pytest.raises(UserError, match='no such folder'), parallel.together():
    raise UserError('no such folder.')
  expected = pytest.raises(PeerFailed, match='another process has failed')
  with expected if failures else contextlib.nullcontext(), parallel.together():
    pass
  assert counted == [1, 0]
