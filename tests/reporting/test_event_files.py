"""Event files as TensorBoard reads them, after a kill and a resumption too."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from pspnet_jax.reporting.event_files import EventFile


def scalars(folder, tag):
  accumulator = EventAccumulator(str(folder), size_guidance={'tensors': 0})
  accumulator.Reload()
  events = accumulator.Tensors(tag) if tag in accumulator.Tags()['tensors'] else []
  found = [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events]
  return found or [(e.step, e.value) for e in accumulator.Scalars(tag)]


def test_steps_after_the_one_gone_on_from_are_forgotten(tmp_path):
  killed = EventFile(tmp_path)
  for step in (10, 20, 30):
    killed.scalars(step, {'loss': float(step)}, wall_time=0.0)
  killed.flush()  # and no more
  resumed = EventFile(tmp_path, start_step=20)
  resumed.scalars(30, {'loss': -1.0}, wall_time=1.0)
  resumed.close()
  assert scalars(tmp_path, 'loss') == [(10, 10.0), (20, 20.0), (30, -1.0)]


def test_names_are_in_groups_and_keep_their_spaces(tmp_path):
  file = EventFile(tmp_path)
  values = {'learning_rate': 0.5, 'images_per_second': 2.0, 'val_IoU/traffic light': 0.25}
  file.scalars(1, {**values, 'mine': 3.0}, wall_time=0.0)
  file.close()
  for tag, value in {
    'train/learning_rate': 0.5,
    'time/images_per_second': 2.0,
    'val_IoU/traffic light': 0.25,
    'mine': 3.0,
  }.items():
    assert scalars(tmp_path, tag) == [(1, value)]


def test_files_are_read_in_the_order_they_were_opened(tmp_path):
  names = []
  for _ in range(3):
    EventFile(tmp_path / 'new').close()
    names.append(sorted(path.name for path in (tmp_path / 'new').iterdir()))
  assert names[2][:2] == names[1] and names[1][:1] == names[0]
