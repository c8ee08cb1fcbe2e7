"""Work in threads: the results in order, errors when they are due, OpenCV's threads given back."""

import gc
import itertools
import threading
import time

import cv2
import pytest

from pspnet_jax.data.in_order import in_order
from pspnet_jax.errors import UserError


def slow_square(i):
  time.sleep(i % 3 * 1e-3)  # so that threads finish out of order
  return i * i


@pytest.mark.parametrize('threads', [0, 1, 5])
def test_it_is_map(threads):
  squares = in_order(slow_square, range(3, 100, 4), threads=threads)
  assert list(squares) == [i * i for i in range(3, 100, 4)]
  assert list(in_order(str, [], threads=threads)) == []


@pytest.mark.parametrize('threads', [0, 1, 3])
def test_what_the_function_raises_arrives_when_its_result_is_due(threads):
  def square(i):
    if i == 7:
      raise UserError(f'labels/{i}.png is empty: copy or download it again.')
    return slow_square(i)

  results = in_order(square, range(20), threads=threads)
  assert list(itertools.islice(results, 7)) == [i * i for i in range(7)]
  with pytest.raises(UserError, match=r'^labels/7\.png is empty: copy or download it again\.'):
    next(results)


@pytest.mark.parametrize('threads', [1, 4])
def test_it_works_a_little_ahead_and_no_further(threads):
  started = []
  results = in_order(started.append, range(1000), threads=threads)
  next(results)
  time.sleep(0.3)
  assert 1 < len(started) <= 2 * threads + 5  # results waiting, and one in each thread's hands
  results.close()


def test_none_is_a_result():
  assert list(in_order(lambda _: None, range(3), threads=2)) == [None] * 3


@pytest.fixture
def three_threads():
  before = cv2.getNumThreads()
  cv2.setNumThreads(3)
  yield
  cv2.setNumThreads(before)


@pytest.mark.usefixtures('three_threads')
@pytest.mark.parametrize('end', ['exhaust', 'close', 'forget', 'fail'])
def test_opencv_has_one_thread_meanwhile_and_its_own_after(end):
  fails = (lambda i: 1 // (5 - i)) if end == 'fail' else slow_square
  results = in_order(fails, range(10), threads=2)
  next(results)
  assert cv2.getNumThreads() == 1
  if end == 'fail':
    with pytest.raises(ZeroDivisionError):
      list(results)
  elif end == 'exhaust':
    list(results)
  elif end == 'close':
    results.close()
  del results
  gc.collect()
  assert cv2.getNumThreads() == 3


@pytest.mark.usefixtures('three_threads')
def test_the_last_of_several_gives_opencv_its_threads_back():
  first, second = (in_order(slow_square, range(10), threads=2) for _ in range(2))
  next(first), next(second)
  first.close()
  assert cv2.getNumThreads() == 1
  second.close()
  assert cv2.getNumThreads() == 3


@pytest.mark.usefixtures('three_threads')
def test_what_the_user_chose_meanwhile_stays():
  results = in_order(slow_square, range(10), threads=2)
  next(results)
  cv2.setNumThreads(2)
  results.close()
  assert cv2.getNumThreads() == 2


@pytest.mark.usefixtures('three_threads')
def test_iterators_of_several_threads_end_as_they_began():
  def work():
    for _ in range(5):
      assert sum(in_order(slow_square, range(20), threads=2)) == sum(i * i for i in range(20))

  workers = [threading.Thread(target=work) for _ in range(4)]
  for worker in workers:
    worker.start()
  for worker in workers:
    worker.join()
  assert cv2.getNumThreads() == 3
