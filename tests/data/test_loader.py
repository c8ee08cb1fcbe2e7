import gc
import itertools
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pspnet_jax.data import sources
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError

CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'


class Numbers:
  """Examples that carry their index, and take unequal time so that threads finish out of order."""

  spec = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))

  def __init__(self, length, broken=None):
    self.length, self.broken = length, broken

  def __len__(self):
    return self.length

  def __getitem__(self, index):
    if index == self.broken:
      raise UserError(f'labels/{index}.png is empty: copy or download it again.')
    time.sleep(index % 3 * 1e-3)
    return {'image': np.full((2, 2, 3), index), 'label': np.full((2, 2), index), 'name': str(index)}


def tagged(example, rng):
  """The index of the example, and the first of its random numbers."""
  return {'image': example['image'], 'label': example['label'], 'random': rng.random()}


def steps(source, number, *, batch_size=6, seed=0, **options):
  options = {'transform': tagged, 'threads': 2, **options}
  batches = train_batches(source, batch_size=batch_size, seed=seed, **options)
  return list(itertools.islice(batches, number))


def indices(batches):
  return [int(i) for batch in batches for i in batch['label'][:, 0, 0]]


def assert_equal(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second, strict=True):
    assert set(a) == set(b)
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


# training


@pytest.mark.parametrize('threads', [0, 2, 5])
def test_threads_do_not_matter(threads):
  assert_equal(steps(Numbers(20), 8, threads=threads), steps(Numbers(20), 8, threads=1))


@pytest.mark.parametrize('processes', [2, 3, 6])
def test_processes_share_the_batch_in_order(processes):
  whole = steps(Numbers(20), 7)
  shares = [
    steps(Numbers(20), 7, process_index=p, process_count=processes) for p in range(processes)
  ]
  joined = [
    {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for parts in zip(*shares, strict=True)
  ]
  assert_equal(joined, whole)


@pytest.mark.parametrize('start', [1, 3, 9])
def test_resuming_goes_on_where_it_stopped(start):
  whole = steps(Numbers(20), 12)
  assert_equal(steps(Numbers(20), 12 - start, start_step=start), whole[start:])
  assert_equal(
    steps(Numbers(20), 2, start_step=start, process_index=1, process_count=2),
    [{name: value[3:] for name, value in batch.items()} for batch in whole[start : start + 2]],
  )


class Recorded(Numbers):
  """Remembers what was read."""

  def __init__(self, length):
    super().__init__(length)
    self.read = []

  def __getitem__(self, index):
    self.read.append(index)
    return super().__getitem__(index)


def test_a_jump_of_ten_million_steps_reads_the_examples_of_its_step_alone():
  options = {'batch_size': 16, 'threads': 0}
  source = Recorded(20210)
  (batch,) = steps(source, 1, start_step=10**7, **options)
  assert source.read == indices([batch])
  before = steps(Numbers(20210), 3, start_step=10**7 - 2, **options)
  assert_equal([batch], before[2:])


@pytest.mark.parametrize('process', range(4))
def test_a_process_reads_its_share_alone(process):
  source, whole = Recorded(50), indices(steps(Numbers(50), 3, batch_size=8, threads=0))
  steps(source, 3, batch_size=8, threads=0, process_index=process, process_count=4)
  wanted = [whole[8 * step + 2 * process + row] for step in range(3) for row in range(2)]
  assert source.read == wanted


AUGMENTATIONS = {
  'semseg': {},
  'mmseg': {
    'base_size': (128, 48),
    'cat_max_ratio': 0.75,
    'photometric': True,
    'pad_centred': False,
    'rotate_probability': 0,
    'blur_probability': 0,
  },
}


@pytest.mark.parametrize('options', AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_augmented_batches_are_the_same_bits_for_any_threads_and_processes(options):
  source = sources.open_source('context_scenes', 'train', length=30, size=(48, 64))
  settings = {'transform': Augment((41, 57), **options), 'batch_size': 8, 'start_step': 10**7}
  whole = steps(source, 2, threads=0, **settings)
  assert len(np.unique(whole[0]['image'])) > 50
  for threads in (1, 2, 5):
    assert_equal(steps(source, 2, threads=threads, **settings), whole)
  shares = [steps(source, 2, process_index=p, process_count=4, **settings) for p in range(4)]
  for step in range(2):
    for name in ('image', 'label'):
      joined = np.concatenate([share[step][name] for share in shares])
      np.testing.assert_array_equal(joined, whole[step][name])


def test_every_epoch_has_every_example_once_in_its_own_order():
  found = indices(steps(Numbers(21), 14))  # 84 = 4 epochs, and epochs end within batches
  epochs = [found[i : i + 21] for i in range(0, 84, 21)]
  assert all(sorted(epoch) == list(range(21)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 4
  assert list(range(21)) not in epochs


def test_random_numbers_never_repeat_and_depend_on_the_seed():
  random = np.concatenate([batch['random'] for batch in steps(Numbers(5), 20)])
  assert len(set(random)) == 120
  other = np.concatenate([batch['random'] for batch in steps(Numbers(5), 20, seed=1)])
  assert not set(random) & set(other)
  assert indices(steps(Numbers(50), 8)) != indices(steps(Numbers(50), 8, seed=1))


def test_a_source_smaller_than_the_batch_is_repeated():
  (batch,) = steps(Numbers(2), 1)
  assert sorted(indices([batch])) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize('threads', [0, 1, 3])
def test_what_the_source_raises_arrives_unchanged(threads):
  with pytest.raises(UserError) as caught:
    steps(Numbers(20, broken=7), 20, threads=threads)
  assert str(caught.value) == 'labels/7.png is empty: copy or download it again.'


@pytest.mark.parametrize(
  'options, named',
  [
    ({'source': Numbers(0)}, 'empty'),
    ({'batch_size': 5, 'process_count': 2}, 'batch_size=5'),
    ({'batch_size': 0}, 'batch_size=0'),
    ({'process_index': 2, 'process_count': 2}, 'process_index=2'),
    ({'seed': -1}, 'seed=-1'),
    ({'start_step': -1}, 'start_step=-1'),
  ],
)
def test_impossible_arguments_are_named_before_the_first_batch(options, named):
  with pytest.raises(UserError, match=named):
    train_batches(
      **{'source': Numbers(3), 'transform': tagged, 'batch_size': 4, 'seed': 0, **options}
    )


def grain_threads():
  return {thread for thread in threading.enumerate() if 'grain' in thread.name}


@pytest.mark.parametrize('how', ['close', 'forget', 'fail'])
def test_threads_end_with_the_iterator(how):
  others = grain_threads()  # of earlier tests, on their way out
  source = Numbers(20, broken=5 if how == 'fail' else None)
  batches = train_batches(source, transform=tagged, batch_size=4, seed=0, threads=3)
  if how == 'fail':
    with pytest.raises(UserError):
      list(batches)
  else:
    next(batches)
    assert grain_threads() - others
    if how == 'close':
      batches.close()
    del batches
    gc.collect()
  deadline = time.monotonic() + 5
  while grain_threads() - others and time.monotonic() < deadline:
    time.sleep(0.01)
  assert not grain_threads() - others


def test_interrupting_does_not_hang():
  program = """
    import numpy as np, signal, time
    from pspnet_jax.data.loader import train_batches
    # A job in the background inherits a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    class Slow:
      def __len__(self): return 1000
      def __getitem__(self, index):
        time.sleep(0.05)
        return {'label': np.zeros(1)}
    for batch in train_batches(Slow(), transform=lambda e, rng: e, batch_size=4, seed=0, threads=2):
      print('ready', flush=True)
  """
  command = [sys.executable, '-c', textwrap.dedent(program)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    assert process.stdout.readline() == b'ready\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
  assert b'KeyboardInterrupt' in errors


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_scenes_are_reproduced_bit_for_bit():
  names = tuple('abcdefghijk')
  source = Folder(str(CAMVID), 'train', class_names=names, ignore_ids=(11,))
  options = {'transform': Augment((97, 113)), 'batch_size': 4, 'seed': 3}
  whole = steps(source, 3, threads=1, **options)
  assert whole[0]['image'].shape == (4, 97, 113, 3)
  assert whole[0]['label'].shape == (4, 97, 113)
  assert whole[0]['image'].dtype == whole[0]['label'].dtype == np.uint8
  assert_equal(steps(source, 1, threads=2, start_step=2, **options), whole[2:])
