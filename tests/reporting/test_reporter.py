import io
import json
import logging
import math
import time

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging as absl_logging
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from pspnet_jax.errors import UserError
from pspnet_jax.reporting import run_files
from pspnet_jax.reporting.reporter import Reporter


def plain_console() -> tuple[Console, io.StringIO]:
  out = io.StringIO()
  return Console(file=out), out


def quiet(workdir, **kwargs) -> Reporter:
  return Reporter(workdir, console=plain_console()[0], **kwargs)


def records(workdir) -> list[dict]:
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def events(workdir, tag: str) -> list[tuple[int, object]]:
  """(step, value) of every event, as TensorBoard shows them."""
  accumulator = EventAccumulator(str(workdir), size_guidance={'tensors': 0})
  accumulator.Reload()
  tensors = [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)]
  return [(step, tensor.tolist()) for step, tensor in tensors]


def test_scalars_reach_metrics_jsonl_and_event_files(tmp_path):
  before = time.time()
  with quiet(tmp_path / 'new' / 'run', total_steps=20) as reporter:
    reporter.scalars(10, {'train/loss': jnp.float32(0.5), 'mIoU': np.float64(0.25), 'images': 160})
    reporter.scalars(20, {'train/loss': 0.25})
  first, second = records(tmp_path / 'new' / 'run')
  assert {k: v for k, v in first.items() if k != 'time'} == {
    'step': 10,
    'train/loss': 0.5,
    'mIoU': 0.25,
    'images': 160,
  }
  assert before - 1 <= first['time'] <= second['time'] <= time.time() + 1
  assert events(tmp_path / 'new' / 'run', 'train/loss') == [(10, 0.5), (20, 0.25)]


def test_images_and_texts_reach_event_files(tmp_path):
  image = np.zeros((4, 6, 3), np.uint8)
  image[:, :3] = (255, 0, 10)
  with quiet(tmp_path, total_steps=2) as reporter:
    reporter.images(1, {'val/panel': image})
    image[:] = 7  # the caller may go on with its buffer
    reporter.text(2, 'config', '| a | b |')
  ((step, png),) = events(tmp_path, 'val/panel')
  decoded = np.asarray(Image.open(io.BytesIO(png[2])))  # after width and height
  assert decoded[0, 0].tolist() == [255, 0, 10] and decoded[0, 5].tolist() == [0, 0, 0]
  assert step == 1 and b'| a | b |' in np.ravel(events(tmp_path, 'config/text_summary')[0][1])


@pytest.mark.parametrize(
  'image', [np.zeros((4, 6, 3), np.float32), np.zeros((4, 6), np.uint8), np.zeros((3, 4, 6), 'u1')]
)
def test_an_image_that_is_not_uint8_hwc_raises(tmp_path, image):
  with quiet(tmp_path, total_steps=2) as reporter, pytest.raises(ValueError, match='uint8'):
    reporter.images(1, {'a': image})


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_in_json(tmp_path, value):
  with quiet(tmp_path, total_steps=2) as reporter:
    reporter.scalars(1, {'loss': np.float32(value)})
  assert 'NaN' not in (text := (tmp_path / 'metrics.jsonl').read_text()) and 'Inf' not in text
  assert records(tmp_path)[0]['loss'] is None
  assert str(events(tmp_path, 'loss')[0][1]) == str(value)


def test_a_reserved_name_raises_at_once(tmp_path):
  with quiet(tmp_path, total_steps=2) as reporter, pytest.raises(ValueError, match="'step'"):
    reporter.scalars(1, {'step': 3})


def test_resuming_leaves_each_step_once(tmp_path):
  with quiet(tmp_path, total_steps=200) as reporter:  # killed after 130, last checkpoint at 100
    for step in range(10, 140, 10):
      reporter.scalars(step, {'loss': step})
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 140, "lo')
  with quiet(tmp_path, total_steps=200, start_step=100) as reporter:
    for step in range(110, 210, 10):
      reporter.scalars(step, {'loss': -step})
  expected = [(s, s if s <= 100 else -s) for s in range(10, 210, 10)]
  assert [(r['step'], r['loss']) for r in records(tmp_path)] == expected
  assert events(tmp_path, 'loss') == expected
  assert {p.name.split('.')[0] for p in tmp_path.iterdir()} == {'metrics', 'events'}  # no leftovers


def test_starting_afresh_forgets_a_run_that_left_no_checkpoint(tmp_path):
  for sign in (1, -1):
    with quiet(tmp_path, total_steps=3) as reporter:
      reporter.scalars(1, {'loss': sign})
  assert [r['loss'] for r in records(tmp_path)] == [-1]
  assert events(tmp_path, 'loss') == [(1, -1)]


def test_all_but_the_primary_process_are_silent(tmp_path):
  console, out = plain_console()
  with Reporter(tmp_path / 'run', total_steps=2, primary=False, console=console) as reporter:
    reporter.scalars(1, {'loss': 1.0})
    reporter.images(1, {'a': np.zeros((2, 2, 3), np.uint8)})
    reporter.text(1, 'a', 'b')
    reporter.line(1, {'loss': 1.0})
    reporter.table(['a'], [[1]])
    reporter.say('hello')
    reporter.advance(2)
  assert not (tmp_path / 'run').exists() and not out.getvalue()


class FullDisk(io.StringIO):
  def write(self, _):
    raise OSError(28, 'No space left on device')


def test_a_full_disk_is_told_on_the_main_thread_with_the_files_name(tmp_path):
  with pytest.raises(UserError, match=r'metrics\.jsonl.*No space left.*workdir'):  # noqa: SIM117
    with quiet(tmp_path, total_steps=3) as reporter:
      reporter._files._jsonl = FullDisk()
      reporter.scalars(1, {'loss': 1.0})
  with pytest.raises(UserError, match=r'metrics\.jsonl'):  # noqa: SIM117
    with quiet(tmp_path, total_steps=3) as reporter:
      reporter._files._jsonl = FullDisk()
      for step in range(1000):
        reporter.scalars(step, {'loss': 1.0})
        time.sleep(0.01)
      pytest.fail('the loop was never told')


def test_a_full_disk_does_not_hide_what_ended_the_run(tmp_path):
  console, out = plain_console()
  with pytest.raises(ZeroDivisionError):  # noqa: SIM117
    with Reporter(tmp_path, total_steps=3, console=console) as reporter:
      reporter._files._jsonl = FullDisk()
      reporter.scalars(1, {'loss': 1.0})
      1 / 0  # noqa: B018
  assert 'metrics.jsonl cannot be written' in out.getvalue()


def test_events_on_a_full_disk_name_the_event_file(tmp_path, monkeypatch):
  monkeypatch.setattr(run_files, '_FLUSH_SECONDS', 0.0)
  with pytest.raises(UserError, match=r'events\.out\.tfevents'):  # noqa: SIM117
    with quiet(tmp_path, total_steps=3) as reporter:
      monkeypatch.setattr(reporter._files._events, 'flush', lambda: FullDisk().write(''))
      reporter.scalars(1, {'loss': 1.0})


def test_a_workdir_that_is_a_file_is_a_user_error(tmp_path):
  (tmp_path / 'run').write_text('')
  with pytest.raises(UserError, match='run'), quiet(tmp_path / 'run', total_steps=3):
    pass


def test_plain_output_is_single_lines_without_ansi():
  console, out = plain_console()
  values = {'train/loss': 0.4321, 'mIoU': 0.4512, 'images_per_second': 12.34, 'learning_rate': 9e-3}
  with Reporter(None, total_steps=2000, console=console) as reporter:
    reporter.advance(5)
    reporter.line(5, values)
    reporter.line(2000, {**values, 'a_long_name_for_a_scalar': 1.0, 'another_long_name': 2.0})
    logging.getLogger('pspnet_jax.data').info('a record [1/2] that is %s', 'long ' * 30)
  text = out.getvalue()
  assert '\x1b' not in text and '\r' not in text
  first, second, third = text.splitlines()
  assert first.startswith(
    'step    5  loss  0.4321  mIoU 45.12%    12.3 images/s  lr 9.00e-03  left '
  )
  assert second == 'step 2000  loss  0.4321  mIoU 45.12%    12.3 img/s  lr 9.00e-03  ...'
  assert third.startswith('INFO pspnet_jax.data: a record [1/2] that is long long')


def test_time_left_forgets_compilation(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  console, out = plain_console()
  reporter = Reporter(None, total_steps=100, console=console)
  for step, moment in [(10, 100.0), (20, 110.0), (30, 120.0), (100, 190.0)]:
    now[0] = moment
    reporter.line(step, {})
  assert [line.partition('left ')[2] for line in out.getvalue().splitlines()] == [
    '15:00',  # 10 s a step so far, compilation included
    '1:20',
    '1:10',
    '',
  ]


def test_a_closed_console_never_raises(tmp_path):
  console, out = plain_console()
  with Reporter(tmp_path, total_steps=2, console=console) as reporter:
    out.close()
    reporter.line(1, {'loss': 1.0})
    reporter.table(['a'], [[1.0]])
    logging.getLogger('pspnet_jax').warning('lost')

  class BrokenPipe(io.StringIO):
    def write(self, _):
      raise BrokenPipeError

  Reporter(None, total_steps=2, console=Console(file=BrokenPipe())).line(1, {'loss': 1.0})


def test_each_log_record_is_shown_once_and_handlers_come_back(capsys):
  root = logging.getLogger()
  to_stderr = logging.StreamHandler()
  absl_handler = absl_logging.get_absl_handler()
  root.addHandler(to_stderr)
  root.addHandler(absl_handler)
  before = list(root.handlers)
  try:
    console, out = plain_console()
    with Reporter(None, total_steps=2, console=console):
      absl_logging.warning('from absl')
      logging.getLogger('elsewhere').warning('from elsewhere')
      logging.getLogger('pspnet_jax.x').info('from us')
    assert set(root.handlers) == set(before)  # absl's may have stood there already, elsewhere
  finally:
    root.removeHandler(to_stderr)
    root.removeHandler(absl_handler)
  assert [line.split(': ')[1] for line in out.getvalue().splitlines()] == [
    'from absl',
    'from elsewhere',
    'from us',
  ]
  assert capsys.readouterr() == ('', '')


def test_tables_are_whole_without_a_terminal():
  console, out = plain_console()
  rows = [
    ['road', 0.5, 3],
    ['a class name that is much longer than anyone wants ' * 3, math.nan, 40],
  ]
  with Reporter(None, total_steps=0, console=console) as reporter:
    reporter.table(['class', 'IoU', 'pixels'], rows, title='val', footer=['mean', 0.25, None])
  lines = out.getvalue().splitlines()
  assert '\x1b' not in out.getvalue()
  assert lines[0].strip() == 'val' and len(lines) == 1 + 2 + 2 + 2
  assert [cell.strip() for cell in lines[4].split('│')] == [rows[1][0].strip(), '-', '40']
  assert [cell.strip() for cell in lines[6].split('│')] == ['mean', '0.25', '-']
  with pytest.raises(ValueError, match='2 cells for the 3 columns'):
    reporter.table(['class', 'IoU', 'pixels'], [['road', 0.5]])


def test_a_terminal_gets_a_bar_and_unbroken_lines():
  out = io.StringIO()
  console = Console(file=out, force_terminal=True, width=100, record=True)
  with Reporter(None, total_steps=50, console=console) as reporter:
    for step in range(1, 51):
      reporter.advance(step)
      if step % 10 == 0:
        reporter.line(step, {'loss': 1 / step})
    logging.getLogger('pspnet_jax').warning('a warning')
  text = console.export_text()
  assert 'step 10/50  loss  0.1000' in text and 'WARNING' in text and '━' in text
  assert not any('step' in line and 'left' in line for line in text.splitlines())  # the bar has it
  assert '\x1b[' in out.getvalue()


@pytest.mark.parametrize('width', [60, 80])
@pytest.mark.parametrize('total', [10, 10_000_000])
def test_the_bar_and_the_lines_fit_a_terminal(width, total):
  out = io.StringIO()
  console = Console(file=out, force_terminal=True, width=width, color_system=None)
  values = {'loss': 1.0, 'mIoU': 0.5, 'images_per_second': 1234.5, 'learning_rate': 0.01}
  with Reporter(None, total_steps=total, console=console) as reporter:
    reporter._marks[0] = (time.monotonic() - 3600, 0)
    reporter.line(total // 2, values)
  text = out.getvalue()
  for code in ('\x1b[2K', '\x1b[1A', '\x1b[?25l', '\x1b[?25h'):
    text = text.replace(code, '\n')
  lines = [line.strip('\r') for line in text.split('\n')]
  assert max(map(len, lines)) <= width
  bar = next(line for line in reversed(lines) if '━' in line)
  assert len(bar) < width - len('^C')  # which the terminal writes behind it
  assert f'{total // 2}/{total}' in bar and bar.rstrip().endswith('1.0 h left')
