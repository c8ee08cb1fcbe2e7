"""What all commands share: help, versions, how they are started, and errors in one sentence."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pspnet_jax
from pspnet_jax import cli
from pspnet_jax.__main__ import COMMANDS, module_of
from pspnet_jax.weights import exporting
from pspnet_jax.weights.foreign import recognise
from tests import command_lines, tiny
from tests.command_lines import Job

# Runs a command, and says on the last line whether JAX was loaded.
PROBE = """
import atexit, runpy, sys
atexit.register(lambda: print('jax' in sys.modules))
name = sys.argv.pop(1)
runpy.run_module(name, run_name='__main__')
"""


def probe(module, *arguments):
  result = subprocess.run(
    [sys.executable, '-c', PROBE, module, *arguments],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )
  *lines, loaded = result.stdout.splitlines()
  assert not result.stderr and result.returncode == 0
  return lines, loaded == 'True'


@pytest.mark.parametrize('command', COMMANDS)
def test_help_explains_on_one_screen_without_loading_jax(command):
  lines, jax_is_loaded = probe('pspnet_jax', command, '--help')
  assert not jax_is_loaded
  assert len(lines) <= 24 and max(map(len, lines)) <= 100
  assert lines[0].endswith('.') and lines[2].startswith(f'  pspnet {command} ')
  assert 'Flags, written --NAME=VALUE:' in lines


def test_help_is_the_same_however_it_is_asked_for():
  [expected] = {tuple(probe('pspnet_jax', 'evaluate', x)[0]) for x in ('--help', '-h', '-help')}
  assert (list(expected), False) == probe('pspnet_jax.evaluate', '--workdir=x', '--help')
  text = '\n'.join(expected)
  assert "--checkpoint  'best', 'latest' or the number of a step. (default: best)" in text
  assert '--workdir     Of a run or a conversion; of several, A,B, to label' in text
  assert '--config      A config file' in text and '--settings' in text


def test_versions_and_lists_do_not_load_jax():
  version = [f'pspnet_jax {pspnet_jax.__version__}']
  assert probe('pspnet_jax.train', '--version') == (version, False)
  assert probe('pspnet_jax', '--version') == (version, False)
  lines, jax_is_loaded = probe('pspnet_jax', 'zoo', 'list', 'resnet50')
  assert not jax_is_loaded and any('resnet50' in line for line in lines)


def test_settings_are_listed_with_the_values_they_would_have(tmp_path):
  config = tiny.config_file(tmp_path)
  lines, _ = probe('pspnet_jax', 'train', f'--config={config}', '--settings', '--config.seed=5')
  assert {'--config.seed=5', '--config.model.bins=1,2', '--config.optimizer.base_lr=0.01'} <= {
    *lines
  }
  assert '--config.eval.flip  (not set)' in lines
  assert Path(lines[-1].removeprefix('What they mean: ')).is_file()
  lines, _ = probe('pspnet_jax', 'predict', '--settings', '--config.eval.flip=True')
  assert '--config.eval.flip=True' in lines
  assert all(line.startswith('--config.eval.') for line in lines[:-1])


def test_help_names_the_choices_that_there_are():
  lines, _ = probe('pspnet_jax', 'convert', '--help')
  told = ' '.join(' '.join(lines).split())
  assert f'One of {", ".join(recognise.NAMES)}; else recognised.' in told
  lines, _ = probe('pspnet_jax', 'export', '--help')
  assert f'<{"|".join((*exporting.FORMATS, "stablehlo", "onnx"))}>' in '\n'.join(lines)


@pytest.mark.parametrize(
  ('argument', 'says'),
  [
    ('trian', 'there is no command trian: did you mean train?'),
    ('zzzz', 'there is no command zzzz: there are train, evaluate, predict, batch-predict, '),
    ('--config=x', 'name one before the flags, as in pspnet train --config=context_scenes.'),
  ],
)
def test_a_command_that_does_not_exist_is_answered_with_the_nearest(argument, says):
  result = subprocess.run(
    [sys.executable, '-m', 'pspnet_jax', argument], capture_output=True, text=True, cwd=tiny.ROOT
  )
  assert result.returncode == 1 and not result.stdout
  assert result.stderr.startswith('Error: ') and says in result.stderr
  assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('arguments', [(), ('--help',), ('-h',), ('help',)])
def test_alone_it_lists_the_commands(arguments):
  lines, jax_is_loaded = probe('pspnet_jax', *arguments)
  assert not jax_is_loaded and len(lines) <= 24 and max(map(len, lines)) <= 100
  described = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line[:2] == '  '}
  assert {*COMMANDS} <= described.keys()
  assert described['train'] == 'Trains a PSPNet.'


def test_every_door_is_a_command():
  doors = {path.stem for path in (tiny.ROOT / 'pspnet_jax').glob('*.py')}
  assert doors - {'__init__', '__main__', 'cli', 'errors', 'predictor'} == {
    *map(module_of, COMMANDS)
  }


FROM_ELSEWHERE = """
import sys
import pspnet_jax.train as door
from pspnet_jax import cli
cli.run(door.main)
"""


def test_a_command_can_be_called_from_anywhere(tmp_path):
  workdir = tmp_path / 'run'
  result = subprocess.run(
    [
      *(sys.executable, '-c', FROM_ELSEWHERE),
      *(f'--config={tiny.config_file(tmp_path)}', f'--workdir={workdir}'),
      *('--config.total_steps=1', '--config.pictures=0'),
    ],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env=tiny.environment() | {'PYTHONPATH': str(tiny.ROOT)},
  )
  assert result.returncode == 0, result.stderr
  assert (workdir / 'config.json').is_file()


def test_the_next_command_is_started_as_this_one_was(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  python = tmp_path / '.venv' / 'bin' / 'python'
  monkeypatch.setattr(sys, 'executable', str(python))
  monkeypatch.setattr(sys, 'argv', ['/x/pspnet_jax/train.py'])
  assert cli.command('predict') == '.venv/bin/python -m pspnet_jax.predict'
  monkeypatch.setattr(sys, 'executable', '/usr/bin/python3')
  assert cli.command('predict') == 'python -m pspnet_jax.predict'
  script = tmp_path / 'bin' / 'pspnet'
  monkeypatch.setattr(sys, 'argv', [str(script)])
  assert cli.command('predict') == f'{script} predict'
  script.parent.mkdir()
  script.touch(mode=0o755)
  monkeypatch.setenv('PATH', str(script.parent), prepend=os.pathsep)
  assert cli.command('predict') == 'pspnet predict'


# A command of one's own, whose `main` does what stands in its place.
OWN = """
from pspnet_jax import cli

def define_flags():
  pass

def main():
  {body}

cli.run(main)
"""
EXHAUST = 'import jax.numpy as jnp; jnp.zeros((1 << 24, 1 << 24)).block_until_ready()'  # a petabyte
# What a CPU says to a step of 24 GiB: not RESOURCE_EXHAUSTED.
DISPATCH = (
  "raise RuntimeError('INTERNAL: Error dispatching computation: Error dispatching computation: "
  "Out of memory allocating 26727889088 bytes.')"
)


def run_own(body):
  return subprocess.run(
    [sys.executable, '-c', OWN.format(body=body)],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=False,
  )


@pytest.mark.parametrize('body', [EXHAUST, DISPATCH], ids=['array', 'step'])
def test_too_little_memory_is_one_sentence(body):
  result = run_own(body)
  assert result.returncode == 1
  assert result.stderr.startswith('Error: the device is out of memory (Out of memory allocating ')
  assert result.stderr.count('\n') == 1 and 'lower batch_size or crop_size' in result.stderr


def test_a_defect_keeps_its_traceback():
  result = run_own("raise RuntimeError('a defect')")
  assert result.returncode == 1 and 'Traceback' in result.stderr


def test_what_main_does_ends_with_status_0():
  assert run_own('pass').returncode == 0


@pytest.mark.slow
def test_a_run_is_used_from_any_folder_and_under_64_bit_jax(tmp_path):
  """Starts each command in a folder of its own, with paths as people type them."""
  rng = np.random.default_rng(0)
  for kind, split in itertools.product(('images', 'labels'), ('train', 'val')):
    folder = tmp_path / 'work' / 'data' / kind / split
    folder.mkdir(parents=True)
    shape, values = ((33, 49, 3), 255) if kind == 'images' else ((33, 49), 3)
    for name in 'abcd':
      Image.fromarray(rng.integers(0, values, shape, np.uint8)).save(folder / f'{name}.png')
  (folder.parent.parent / 'classes.txt').write_text('sky\nroad\ncar\n')
  config = re.sub(r'c\.data = \{.*?\}\}', "c.data = {'root': 'data'}", tiny.CONFIG, flags=re.DOTALL)
  (tmp_path / 'work' / 'base.py').write_text(config)
  (tmp_path / 'work' / '10:30.py').write_text('from base import get_config\n')
  (tmp_path / 'elsewhere').mkdir()

  def run(folder, *lines):
    jobs = [Job(line, str(tmp_path / folder), run=True) for line in lines]
    return command_lines.results(jobs, HOME=str(tmp_path), JAX_ENABLE_X64='1')

  train = 'train', '--config=10:30.py', '--workdir=~/run', '--config.pictures=0'
  # Trained, and gone on with.
  answers = run('work', *([*train, f'--config.total_steps={steps}'] for steps in (1, 2)))
  assert [status for status, _ in answers] == [0, 0], answers
  assert 'Going on from step 1' in answers[1][1] and not (tmp_path / 'work' / '~').exists()
  elsewhere = 'evaluate', '--workdir=../run'
  data = tmp_path / 'work' / 'data'
  image = data / 'images' / 'val' / 'a.png'
  predict = 'predict', '--workdir=../run', f'--input={image}', '--output=~/out'
  answers = run('elsewhere', elsewhere, predict)
  assert [status for status, _ in answers] == [0, 0], answers
  assert (tmp_path / 'out' / 'labels' / 'a.png').is_file()
  data.rename(data.with_name('moved'))
  [(status, said)] = run('elsewhere', elsewhere)
  assert f'{data}, the data.root of ../run/config.json, does not' in said
  assert status == 1 and said.count('\n') == 1
