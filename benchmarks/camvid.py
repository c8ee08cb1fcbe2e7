"""PSPNet on CamVid beside the same network in PyTorch: mIoU of several seeds, and time an epoch.

    python -m benchmarks.camvid --data=camvid --output=DIR [--seeds=0,1,2] [--steps=1200]

Both are trained as configs/camvid.py says, with and without the pyramid, from the same weights on
the same batches, an epoch of one and an epoch of the other in turn, and both are evaluated by
`evaluate`'s own code. What is measured stays in DIR: the same command goes on with what is missing.
camvid.json and camvid.md have all of it. `--dropout_seed` repeats them with other draws of
dropout and all else the same, which tells how far apart two runs of one side are; `--miniature`
rehearses all with a small network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # PyTorch shares the device

import ml_collections

from benchmarks import device, figures
from benchmarks.sides import Batch, Ours, Side, Theirs, first_weights
from pspnet_jax.config import files, parts
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.spec import Source
from pspnet_jax.evaluation import scoring
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.runtime.files import write_whole

VARIANTS: dict[str, tuple[int, ...]] = {'pyramid': (1, 2, 3, 6), 'no pyramid': ()}  # model.bins
NAMES = ('pspnet_jax', 'PyTorch')


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, trains what is missing, and writes and prints the figures."""
  flags = parse(arguments)
  about, runs = device.describe(), []
  for variant, seed in itertools.product(flags.variants, flags.seeds):
    config = make_config(flags.data, variant, seed, flags.steps, flags.miniature)
    question = {'config': json.loads(config.to_json_best_effort()), 'layout': flags.layout}
    question |= {'about': about, 'code': figures.bearing_code('camvid')}
    name = f'{variant.replace(" ", "_")}_{seed}'
    if flags.dropout_seed is not None:
      name, question['dropout_seed'] = f'{name}_{flags.dropout_seed}', flags.dropout_seed
    path = flags.output / f'{name}.json'
    found = kept(path, question)
    if found is None:
      results = pair(
        config, channels_last=flags.layout == 'channels_last', dropout_seed=flags.dropout_seed
      )
      found = {'question': question, 'variant': variant, 'seed': seed, 'about': about, **results}
      write_whole(path, json.dumps(found, indent=1) + '\n')
    runs.append(found)
    # After each run: what is cut short leaves what it has.
    write_whole(flags.output / 'camvid.json', json.dumps(summary(runs), indent=1) + '\n')
    write_whole(flags.output / 'camvid.md', page(runs))
    print(page(runs), flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data', type=Path, required=True, help='the folder of images and labels')
  parser.add_argument('--output', type=Path, required=True, help='where figures are kept')
  numbers: dict[str, Any] = {'type': lambda text: [int(x) for x in text.split(',')]}
  parser.add_argument('--seeds', **numbers, default=[0, 1, 2], help='of weights and batches')
  parser.add_argument('--dropout_seed', type=int, help="without it the seed's")
  parser.add_argument('--steps', type=int, help="of each training; without it the config's")
  parser.add_argument(
    '--variants',
    type=lambda text: text.split(','),
    default=list(VARIANTS),
    help=f'of {", ".join(VARIANTS)}',
  )
  parser.add_argument(
    '--layout',
    choices=('contiguous', 'channels_last'),
    default='channels_last',  # the faster one where it was measured, a CPU of two cores
    help="of PyTorch's memory",
  )
  parser.add_argument('--miniature', action='store_true', help='a small network, to rehearse')
  flags = parser.parse_args(arguments)
  if unknown := set(flags.variants) - set(VARIANTS):
    parser.error(f'there is no variant {min(unknown)!r}: there are {", ".join(VARIANTS)}')
  return flags


def make_config(
  data: Path, variant: str, seed: int, steps: int | None, miniature: bool
) -> ml_collections.ConfigDict:
  """That of configs/camvid.py, with the pyramid or without."""
  config = files.load('camvid')
  config.data.root = str(data)
  config.model.bins, config.seed = VARIANTS[variant], seed
  if miniature:
    config.batch_size, config.crop_size = 2, (33, 49)
    config.model.update(depth=10, stem_channels=(4, 4, 8), width=4, head_channels=8)
    config.model.aux_channels = 8
  if steps is not None:
    config.total_steps = steps
  return config


def kept(path: Path, question: dict[str, Any]) -> dict[str, Any] | None:
  """What an earlier run has measured; None if it was of another question, or is none."""
  if not path.is_file():
    return None
  try:
    found = json.loads(path.read_text())
  except ValueError:
    return None
  return found if isinstance(found, dict) and found.get('question') == question else None


def pair(
  config: ml_collections.ConfigDict, *, channels_last: bool = False, dropout_seed: int | None = None
) -> dict[str, Any]:
  """Trains both sides on the same batches, in turns of an epoch, and evaluates both.

  Args:
    config: what is trained.
    channels_last: how PyTorch holds images.
    dropout_seed: of both sides' draws, where it is not the config's.

  Returns:
    By name of the side: 'miou', 'iou' by class, 'loss' of each epoch, 'seconds' of each whole one.
  """
  source, val = (parts.open_split(config, split) for split in ('train', 'val'))
  card = parts.make_card(config, source.spec)
  weights = first_weights(config, card)
  transform = parts.make_transform(config, source.spec.num_classes)
  options: dict[str, Any] = {'batch_size': config.batch_size, 'seed': config.seed}
  stream = train_batches(source, transform=transform, threads=config.threads or None, **options)
  # Weights and batches are given to the sides, whose seed then decides dropout alone.
  drawn = config.copy_and_resolve_references()
  drawn.seed = config.seed if dropout_seed is None else dropout_seed
  of_epoch = max(len(source) // config.batch_size, 1)
  try:
    first = next(stream)
    sides: dict[str, Side] = {
      NAMES[0]: Ours(drawn, card, weights, first),
      NAMES[1]: Theirs(drawn, card, weights, channels_last=channels_last),
    }
    results: dict[str, Any] = {name: {'loss': [], 'seconds': []} for name in sides}
    batches = itertools.islice(itertools.chain([first], stream), config.total_steps)
    for epoch, some in enumerate(iter(lambda: list(itertools.islice(batches, of_epoch)), [])):
      # Whoever begins finds the processor cooler, or warmer: they take turns in that, too.
      for name in NAMES if epoch % 2 == 0 else reversed(NAMES):
        loss, seconds = _epoch(sides[name], some)
        results[name]['loss'].append(loss)
        if len(some) == of_epoch:
          results[name]['seconds'].append(seconds)
  finally:
    stream.close()
  inference = parts.make_inference(config, parts.make_network(config, card), card)
  for name, side in sides.items():
    results[name] |= _evaluated(side, inference, card, val)
  return {'epoch_steps': of_epoch, 'sides': results}


def _epoch(side: Side, batches: Sequence[Batch]) -> tuple[float, float]:
  """Mean loss and seconds of some steps."""
  began = time.perf_counter()
  for batch in batches:
    side.step(batch)
  losses = side.losses()  # waits
  return statistics.fmean(losses), time.perf_counter() - began


def _evaluated(side: Side, inference: Inference, card: Card, val: Source) -> dict[str, Any]:
  weights = inference.prepare(*side.weights())
  scores = Scores(scoring.confusion_matrix(inference, weights, val), card.protocol.absent_classes)
  iou = [None if value != value else float(value) for value in scores.iou]
  return {'miou': scores.miou, 'iou': dict(zip(val.spec.class_names, iou, strict=True))}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Mean, lowest and highest mIoU over the seeds, and the median epoch, by variant and side."""
  found: dict[str, Any] = {'runs': list(runs), 'summary': {}}
  for variant in dict.fromkeys(run['variant'] for run in runs):
    of_variant = [run['sides'] for run in runs if run['variant'] == variant]
    for name in NAMES:
      miou = [sides[name]['miou'] for sides in of_variant]
      seconds = [x for sides in of_variant for x in sides[name]['seconds']]
      found['summary'].setdefault(variant, {})[name] = {
        'miou': {'mean': statistics.fmean(miou), 'lowest': min(miou), 'highest': max(miou)},
        'seeds': len(miou),
        'epoch_seconds': statistics.median(seconds) if seconds else None,
      }
  return found


def page(runs: Sequence[dict[str, Any]]) -> str:
  """The figures as Markdown: val mIoU of each seed, mean, spread, and seconds an epoch."""
  about = ', '.join(f'{name} {value}' for name, value in runs[0]['about'].items())
  heading = ['network', 'seed', *(f'{name}, val mIoU %' for name in NAMES), 'seconds an epoch']
  lines = [heading, ['---'] * 2 + ['---:'] * 3]
  for variant, sides in summary(runs)['summary'].items():
    for run in runs:
      if run['variant'] == variant:
        miou = [f'{100 * run["sides"][name]["miou"]:.2f}' for name in NAMES]
        lines.append([variant, str(run['seed']), *miou, _ratio(run['sides'])])
    spread = [
      '{mean:.2f} ({lowest:.2f} to {highest:.2f})'.format(
        **{key: 100 * value for key, value in sides[name]['miou'].items()}
      )
      for name in NAMES
    ]
    lines.append([variant, 'mean', *spread, ''])
  config, layout = (runs[0]['question'][key] for key in ('config', 'layout'))
  trained = f'{config["total_steps"]:,} steps of {config["batch_size"]} images'
  if 'dropout_seed' in runs[0]['question']:
    trained += f', dropout drawn anew ({runs[0]["question"]["dropout_seed"]})'
  text = f'{trained}, PyTorch with {layout} memory. {about}.'
  return f'{text}\n\n' + ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _ratio(sides: dict[str, Any]) -> str:
  seconds = [sides[name]['seconds'] for name in NAMES]
  if not all(seconds):
    return '-'  # no whole epoch
  ours, theirs = map(statistics.median, seconds)
  return f'{ours:.1f} beside {theirs:.1f}: {theirs / ours:.2f} times as fast'


if __name__ == '__main__':
  main()
