"""What a job knows after it was ended, in whatever way."""

import json
import os

import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.pictures import png_files
from pspnet_jax.prediction import jobs
from pspnet_jax.prediction.areas import Area
from pspnet_jax.prediction.jobs import Job
from pspnet_jax.prediction.manifest import Row, read, table_of
from pspnet_jax.prediction.results import Results
from pspnet_jax.prediction.work import failed, tasks_of

np = pytest.importorskip('numpy')
pytest.importorskip('pyarrow')

SPEC = DatasetSpec(('sky', 'road'), default_palette(2))


@pytest.fixture
def tasks(tmp_path):
  names = ['a.jpg', 'b.jpg', 'c.jpg']
  for name in names:
    (tmp_path / name).write_bytes(name.encode())
  paths = [tmp_path / name for name in names]
  return tasks_of(paths, [path.relative_to(tmp_path).with_suffix('.png') for path in paths], names)


def row_of(task, output):
  label = np.zeros((4, 6), np.uint8)
  png_files.write_label(output / 'labels' / task.target, label, SPEC, f'mark of {task.id}')
  area = Area(6, 4, (24, 0, 0))
  made = f'mark of {task.id}'
  return Row(task.id, task.output, area, 0.1, task.bytes, task.modified, made)


def begun(output, made_from='net'):
  job = Job(output)
  job.begin(made_from, SPEC.class_names)
  return job


def left(job, tasks, output):
  return [task.id for task in job.left(tasks, Results(output, ('labels',)))]


def test_what_has_a_label_and_a_row_is_done(tasks, tmp_path):
  out = tmp_path / 'out'
  with begun(out) as job:
    assert left(job, tasks, out) == ['a.jpg', 'b.jpg', 'c.jpg']
    job.add(table_of([row_of(tasks[0], out), failed(tasks[1], 'it is damaged')], SPEC.class_names))
  assert [path.name for path in (out / 'parts').iterdir()] == ['000000.parquet']
  with begun(out) as job:
    assert left(job, tasks, out) == ['b.jpg', 'c.jpg']
    job.add(table_of([row_of(tasks[2], out)], SPEC.class_names))
  with begun(out) as job:
    assert left(job, tasks, out) == ['b.jpg']
    assert job.finish(tasks) == 0
  assert not (out / 'parts').exists()
  table = read(out / 'manifest.parquet')
  assert table['path'].to_pylist() == ['a.jpg', 'b.jpg', 'c.jpg']
  assert table['error'].to_pylist() == [None, 'it is damaged', None]
  with begun(out) as job:
    job.add(table_of([row_of(tasks[1], out)], SPEC.class_names))
    assert job.finish(tasks[1:]) == 1  # a.jpg is no longer asked for
  assert read(out / 'manifest.parquet')['error'].to_pylist() == [None, None]


@pytest.mark.parametrize('change', ['label lost', 'label of others', 'image changed'])
def test_what_has_changed_is_done_again(tasks, tmp_path, change):
  out = tmp_path / 'out'
  with begun(out) as job:
    job.add(table_of([row_of(task, out) for task in tasks], SPEC.class_names))
  if change == 'label lost':
    (out / 'labels' / 'b.png').unlink()
  elif change == 'label of others':
    (out / 'labels' / 'b.png').write_bytes((out / 'labels' / 'a.png').read_bytes())
  else:
    tasks[1].path.write_bytes(b'B.jpg')
    os.utime(tasks[1].path, ns=(1, 1))
    tasks = tasks_of(*zip(*[(t.path, t.target, t.id) for t in tasks], strict=True))
  with begun(out) as job:
    assert left(job, tasks, out) == ['b.jpg']


def test_parts_are_written_while_it_runs(tasks, tmp_path, monkeypatch):
  out = tmp_path / 'out'
  monkeypatch.setattr(jobs, '_PART_SECONDS', 0.0)
  with begun(out) as job:
    for i, task in enumerate(tasks):
      job.add(table_of([row_of(task, out)], SPEC.class_names))
      assert len([*(out / 'parts').iterdir()]) == i + 1


def test_the_work_of_another_network_is_not_mixed_in(tmp_path):
  with begun(tmp_path / 'out'):
    pass
  with Job(tmp_path / 'out') as job, pytest.raises(UserError, match='labels of another network'):
    job.begin('another net', SPEC.class_names)
  assert json.loads((tmp_path / 'out' / 'job.json').read_text()) == {'made_from': 'net'}


def test_two_do_not_work_in_one_folder(tmp_path):
  with begun(tmp_path), pytest.raises(UserError, match='is being labelled into by this process'):
    Job(tmp_path)


@pytest.mark.parametrize('content', ['', '[]', '{}', '\xff'])
def test_a_state_of_others_is_refused(tmp_path, content):
  (tmp_path / 'job.json').write_bytes(content.encode('latin-1'))
  with Job(tmp_path) as job, pytest.raises(UserError, match=r'job\.json is there and is no state'):
    job.begin('net', SPEC.class_names)


def test_files_of_others_are_not_replaced(tmp_path):
  (tmp_path / 'manifest.parquet').write_bytes(b'mine')
  with Job(tmp_path) as job, pytest.raises(UserError, match=r'is there without job\.json'):
    job.begin('net', SPEC.class_names)
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'manifest.parquet').symlink_to(tmp_path / 'manifest.parquet')
  with Job(tmp_path / 'other') as job, pytest.raises(UserError, match='is a link'):
    job.begin('net', SPEC.class_names)
  assert (tmp_path / 'manifest.parquet').read_bytes() == b'mine'
