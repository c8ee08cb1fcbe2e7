"""Labels many small images with batch-predict while its processes are killed, and compares.

    python -m benchmarks.batch_predict --folder=/tmp/batch --images=10000

The same images are labelled by predict, by the local engine, whose process is killed once, and by
two workers of Ray, of which one is killed, and then the whole command. Printed is, of each, whether
every output is there once and identical to predict's, and the images a second of the run that
ended it. The folder has to be new.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import pyarrow.parquet as pq

from pspnet_jax.data.scenes import ContextScenes

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
  *('--config=context_scenes', '--config.total_steps=1', '--config.batch_size=2'),
  *('--config.crop_size=49,65', '--config.eval.whole_images=True', '--config.pictures=0'),
  *('--config.model.depth=10', '--config.model.stem_channels=4,4,8', '--config.model.width=4'),
  *('--config.model.head_channels=8', '--config.model.aux_head=False', '--config.model.bins=1,2'),
  *('--config.data.size=48,64', '--config.data.train.length=8', '--config.data.val.length=2'),
)


def started(command: str, *flags: str) -> subprocess.Popen[str]:
  """Starts a command of the package."""
  return subprocess.Popen(
    [sys.executable, '-m', f'pspnet_jax.{command}', *flags],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )


def ended(process: subprocess.Popen[str]) -> str:
  """Waits for a command that is to succeed, and returns what it said."""
  said, _ = process.communicate()
  if process.returncode:
    raise RuntimeError(f'{process.args} ended with {process.returncode}: {said[-800:]}')
  return said


def when_labelled(process: subprocess.Popen[str], output: Path, count: int) -> None:
  """Waits until there are so many labels."""
  while sum(1 for _ in output.glob('labels/*/*.png')) < count:
    if process.poll() is not None:
      raise RuntimeError(f'{process.args} ended before it could be killed')
    time.sleep(0.5)


def workers(ancestor: int, name: bytes = b'ray::MapWorker') -> list[int]:
  """The processes of that name, workers of Ray Data, that this one or its descendants started."""
  parents, named = {}, []
  for path in Path('/proc').glob('[0-9]*'):
    try:
      if (path / 'cmdline').read_bytes().startswith(name):
        named.append(int(path.name))
      # The name, in brackets, may hold anything; a state and the parent follow it.
      after = (path / 'stat').read_text(errors='replace').rpartition(')')[2]
      parents[int(path.name)] = int(after.split()[1])
    except OSError:  # it has ended
      continue

  def descends(number: int) -> bool:
    while number in parents and number != ancestor:
      number = parents[number]
    return number == ancestor

  return [number for number in named if descends(number)]


def compared(output: Path, reference: Path, images: Sequence[str]) -> str:
  """Says whether every image has one output and one row, and the bytes that predict wrote."""
  labels = {x.relative_to(output).as_posix() for x in output.glob('labels/*/*.png')}
  table = pq.read_table(output / 'manifest.parquet')
  assert table['path'].to_pylist() == list(images)
  assert labels == {f'labels/{x}' for x in images} == {*table['output'].to_pylist()}
  assert not [*output.rglob('*.part')]
  other = [x for x in labels if (output / x).read_bytes() != (reference / x).read_bytes()]
  attempts = collections.Counter(table['attempts'].to_pylist())
  return (
    f'{len(labels):,} outputs, each once; {len(other)} differ from those of predict; rows by the '
    f'number of attempts: {dict(sorted(attempts.items()))}'
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--folder', type=Path, required=True, help='where everything goes')
  parser.add_argument('--images', type=int, default=10_000, help='how many are labelled')
  args = parser.parse_args()
  folder, count = args.folder, args.images
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  ended(started('train', f'--workdir={folder / "run"}', *SMALL))
  images = []
  for i, scene in enumerate(ContextScenes('val', size=(48, 64), length=count)):
    path = folder / 'in' / f'{i // 1000:03d}' / f'{i:06d}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), scene['image'][..., ::-1])
    images.append(path.relative_to(folder / 'in').as_posix())
  about = (f'--workdir={folder / "run"}', f'--input={folder / "in"}')

  begun = time.monotonic()
  ended(started('predict', *about, f'--output={folder / "predict"}', '--nooverlays'))
  print(f'predict: {count:,} images in {time.monotonic() - begun:.0f} s with its start', flush=True)

  for engine in ('local', 'ray'):
    output = folder / engine
    flags = (*about, f'--output={output}', f'--engine={engine}')
    flags += ('--workers=2',) if engine == 'ray' else ()
    process = started('batch_predict', *flags)
    if engine == 'ray':
      when_labelled(process, output, count // 8)
      os.kill(workers(process.pid)[0], signal.SIGKILL)
    when_labelled(process, output, count // 4)
    process.kill()
    process.communicate()
    said = ended(started('batch_predict', *flags))
    print(f'{engine}: {compared(output, folder / "predict", images)}')
    print(
      '  ' + '\n  '.join(re.findall(r'.*(?:done already|are kept|images/s).*', said)), flush=True
    )


if __name__ == '__main__':
  main()
