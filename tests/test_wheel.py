"""What is published: the source distribution is whole, and the wheel runs without a checkout."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny

BUILD = 'from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))'
# Of the folder that is worked in: not the project's.
LEFTOVERS = shutil.ignore_patterns(
  *('.git', '.venv*', '.*_cache', '__pycache__', '*.egg-info', 'build', '_build', 'dist', 'demo')
)


def build(kind: str, source: Path, folder: Path) -> Path:
  """Builds with the setuptools that is installed: nothing is fetched."""
  result = subprocess.run(
    [sys.executable, '-c', BUILD.format(kind=kind, folder=str(folder))],
    capture_output=True,
    text=True,
    cwd=source,
    env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return folder / result.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """The source distribution, unpacked, and the wheel that is built from it."""
  folder = tmp_path_factory.mktemp('dist')
  checkout = shutil.copytree(tiny.ROOT, folder / 'checkout', ignore=LEFTOVERS)
  with tarfile.open(build('sdist', checkout, folder)) as archive:
    archive.extractall(folder, filter='data')
  [source] = folder.glob('pspnet_jax-*/')
  return source, build('wheel', source, folder)


def test_the_source_distribution_holds_what_the_repository_does(built):
  listed = subprocess.run(
    ['git', 'ls-files', '-z'], capture_output=True, text=True, cwd=tiny.ROOT, check=False
  )
  if listed.returncode:
    pytest.skip('this is no repository')
  tracked = {name for name in listed.stdout.split('\0') if name and (tiny.ROOT / name).is_file()}
  source, _ = built
  held = {str(path.relative_to(source)) for path in source.rglob('*') if path.is_file()}
  assert tracked - held <= {'.gitignore'}


def test_the_wheel_holds_package_configs_and_command_and_nothing_else(built):
  with zipfile.ZipFile(built[1]) as wheel:
    names = set(wheel.namelist())
    [entry_points] = [name for name in names if name.endswith('/entry_points.txt')]
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(entry_points).decode())
  assert dict(parser['console_scripts']) == {'pspnet': 'pspnet_jax.__main__:main'}
  configs = {name for name in names if name.startswith('pspnet_jax/configs/')}
  files = {path.name for path in (tiny.ROOT / 'configs').glob('*.py')}  # and what they share
  assert configs == {f'pspnet_jax/configs/{name}' for name in files}
  package = tiny.ROOT / 'pspnet_jax'
  modules = {f'pspnet_jax/{path.relative_to(package)}' for path in package.rglob('*.py')}
  beside = {f'pspnet_jax/{name}' for name in ('py.typed', 'weights/catalogue.csv', 'web/style.css')}
  assert modules | beside <= names
  assert {name.partition('/')[0] for name in names if '.dist-info/' not in name} == {'pspnet_jax'}


def test_the_description_works_where_there_is_no_repository(built):
  with zipfile.ZipFile(built[1]) as wheel:
    [name] = [name for name in wheel.namelist() if name.endswith('/METADATA')]
    metadata = message_from_bytes(wheel.read(name))
  text = metadata.get_payload()
  assert metadata['Description-Content-Type'] == 'text/markdown' and 'pspnet train' in text
  for target in re.findall(r'\]\(([^)]*)\)', text):
    assert target.startswith('https://'), f'{target} leads nowhere on the package index'
  assert {'convert', 'cuda12', 'cuda13', 'notebook', 'tfds', 'tpu'} <= {
    *metadata.get_all('Provides-Extra')
  }


@pytest.fixture(scope='module')
def installed(built, tmp_path_factory):
  """The `bin` of an environment that holds the wheel, and what it depends on from this one's.

  A .pth file adds this environment's packages. What .pth files among those add, as of an editable
  install, is not added.
  """
  folder = tmp_path_factory.mktemp('environment')
  subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
  python = folder / 'bin' / 'python'
  scheme = {'base': str(folder), 'platbase': str(folder)}
  packages = Path(sysconfig.get_path('purelib', 'venv', scheme))
  (packages / 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')
  pip = [
    sys.executable,
    '-m',
    'pip',
    '--python',
    python,
    'install',
    '-q',
    '--no-deps',
    '--no-index',
  ]
  subprocess.run([*pip, '--force-reinstall', built[1]], check=True)
  return folder / 'bin'


def run(installed, folder, *command):
  env = {k: v for k, v in tiny.environment().items() if k != 'PYTHONPATH'}
  result = subprocess.run(
    command,
    capture_output=True,
    text=True,
    cwd=folder,
    env=env | {'PATH': f'{installed}{os.pathsep}{env["PATH"]}'},
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return result.stdout


@pytest.mark.slow
def test_the_wheel_trains_and_predicts_from_an_empty_folder(installed, tmp_path):
  where = run(installed, tmp_path, 'python', '-c', 'import pspnet_jax; print(pspnet_jax.__file__)')
  assert Path(where.strip()).is_relative_to(installed.parent), 'this is not what the wheel holds'
  assert 'pspnet_jax 0.' in run(installed, tmp_path, 'pspnet', '--version')
  row = ('pspnet', 'train', '--config=ade20k_mmseg:r101-160k', '--settings')
  assert '--config.total_steps=160000' in run(installed, tmp_path, *row)  # it imports a sibling
  printed = run(
    installed,
    tmp_path,
    *('pspnet', 'train', '--config=context_scenes', '--workdir=run', '--config.total_steps=4'),
    *('--config.log_every=2', '--config.crop_size=33,49', '--config.data.size=33,49'),
    *('--config.model.width=4', '--config.model.stem_channels=4,4,8', '--config.pictures=2'),
  )
  assert 'All 4 steps are done' in printed
  assert '\n  pspnet predict --workdir=run --input=FILE_OR_FOLDER --output=DIR' in printed
  assert 'mIoU' in run(installed, tmp_path, 'pspnet', 'evaluate', '--workdir=run')
  image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
  Image.fromarray(image).save(tmp_path / 'street.png')
  run(
    installed,
    tmp_path,
    *('pspnet', 'predict', '--workdir=run', '--input=street.png', '--output=out'),
  )
  label = np.asarray(Image.open(tmp_path / 'out' / 'labels' / 'street.png'))
  assert label.shape == (40, 60) and label.max() < 11
  assert (tmp_path / 'out' / 'overlays' / 'street.png').is_file()
