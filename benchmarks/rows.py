"""Writes docs/reproducing.md: every published row that has a config, its command and its figures.

    python -m benchmarks.rows

What is said of a row stands in the ROWS of its config; figures of our own are those that
`benchmarks.figures` keeps.
"""

import argparse
from pathlib import Path

from benchmarks import ablations, curves, figures
from pspnet_jax.config import python_file

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'reproducing.md'
SECTIONS = {
  'The paper': ('ade20k_paper', 'voc2012_paper', 'cityscapes_paper'),
  'hszhao/semseg': ('ade20k_pspnet50', 'voc2012_pspnet50', 'cityscapes_pspnet50'),
  'open-mmlab/mmsegmentation': (
    *('cityscapes_mmseg', 'ade20k_mmseg', 'voc2012_mmseg', 'pascal_context_mmseg'),
    *('coco_stuff_mmseg', 'loveda_mmseg', 'potsdam_mmseg', 'vaihingen_mmseg', 'isaid_mmseg'),
  ),
  'PaddlePaddle/PaddleSeg': (
    *('cityscapes_paddleseg', 'voc2012_paddleseg', 'isaid_paddleseg', 'potsdam_paddleseg'),
  ),
  'SegmentationBLWX/sssegmentation': (
    *('ade20k_sssegmentation', 'voc2012_sssegmentation', 'cityscapes_sssegmentation'),
  ),
}
# Published, and without a config: the row, its mIoU, and why. Sources: docs/model_zoo/csv_tables of
# dmlc/gluon-cv, contrib/RSSegBenchmark/README.md of PaddleSeg.
_GLUONCV = (
  "how MXNet's SoftmaxOutput and a batch over four GPUs scale its gradient is not known here"
)
WITHOUT = (
  ('GluonCV psp_resnet50_ade', 'val 41.5', _GLUONCV),
  ('GluonCV psp_resnet101_ade', 'val 43.3', _GLUONCV),
  ('GluonCV psp_resnet101_coco', 'val 70.4', f'{_GLUONCV}; voc2012_paper:table6-coco is its task'),
  ('GluonCV psp_resnet101_voc', 'test 85.1', f'{_GLUONCV}; voc2012_paper follows its chain'),
  ('GluonCV psp_resnet101_citys', 'val 79.9', _GLUONCV),
  (
    'PaddleSeg pspnet_pixpro_imgnet_resnet50_isaid_512x512',
    'ss 50.23',
    'begins with self-supervised weights (PixelPro), and is no better for it',
  ),
)
OTHER_NETWORKS = (
  'A pyramid on another backbone (ResNeSt, MobileNetV2, U-Net in mmsegmentation) is another '
  'network, and is not counted.'
)
BEYOND = """\
The highest published mIoU at one scale on the paper's data sets, with the same network: what moves
it is the length of training, the crop, and what the backbone has learned. The paper and semseg
average the mirror image in even then; the others do not."""
KINDS = ('ss', 'ms', 'test')  # of published figures; the first number of each is mIoU
INTRODUCTION = """\
# Reproducing published figures

<!-- Written by `python -m benchmarks.rows` from the ROWS of configs/*.py; do not edit. -->

Every row is one command, which trains it with its authors' recipe:

    pspnet train --config=CONFIG --workdir=DIR

"Published" has mIoU first, then mean accuracy and pixel accuracy where there are three numbers, or
pixel accuracy where there are two, all in percent. The same workdir gives them:

    ss      pspnet evaluate --workdir=DIR --checkpoint=latest
    ms      pspnet evaluate --workdir=DIR --checkpoint=latest --config.eval.flip=True \\
                --config.eval.scales=0.5,0.75,1,1.25,1.5,1.75
    test    pspnet submit --workdir=DIR --checkpoint=latest --input=IMAGES --benchmark=NAME \\
                --output=FILE --config.eval.flip=True \\
                --config.eval.scales=0.5,0.75,1,1.25,1.5,1.75

The paper, semseg and mmsegmentation report the network at the end; without `--checkpoint=latest` it
is the best of those that were evaluated on the way, as PaddleSeg reports.

`pspnet plan --config=CONFIG --topology=h100` says what memory a step takes, without a device.

"Ours" is a figure that was measured with this config, or what it takes to measure it. Figures of
one recipe spread by a point from seed to seed (73.8 to 75.1 in three runs of a PSPNet on
Cityscapes, mmsegmentation issue 1208), so one run is no proof.
"""
ABLATIONS = """\
### The paper's ablations on generated scenes

![Three seeds of every row](images/ablations.png)

The rows change here what they change in the paper, and nothing else: a ResNet-10 of width 16
learns 240 steps of generated scenes in which a vehicle is a boat or a car by what lies at the edge
of its own half ([context_ablations.py](../configs/context_ablations.py)). The paper
trained a ResNet-50 on ADE20K. Figures are mIoU in percent on 200 unseen scenes.
`python -m benchmarks.figures --measure=context_ablations --output=DIR` trains them,
`python -m benchmarks.ablations --plot=FILE` writes the tables and the plot."""

CURVES = """\
### Real scenes, as far as two CPU cores go

![Validation score against time](images/curves.png)

CamVid's 367 frames from scratch ([camvid_long.py](../configs/camvid_long.py)), a ResNet-18 of width
16. Minutes count from the command, with ten evaluations of 101 whole frames at one scale.

    JAX_NUM_CPU_DEVICES=2 python -m benchmarks.figures --measure=camvid_long --seeds=0 \\
        --camvid=DIR --output=DIR

trained it, with the settings for glibc's memory in [performance.md](performance.md);
`python -m benchmarks.curves --plot=FILE` writes the table and the plot."""


def names() -> list[str]:
  return [name for section in SECTIONS.values() for name in section]


def flat(tree: dict, prefix: str = '') -> dict:
  found = {}
  for key, value in tree.items():
    found |= flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
  return found


def config_of(name: str, row: str, of_row: dict) -> dict:
  """The config of a row by flattened names; of an ensemble, which is no training, nothing."""
  return {} if 'ensemble' in of_row else flat(python_file.call(f'{name}:{row}')[0].to_dict())


def flags(changes: dict) -> str:
  def shown(value):
    return str(value).replace(' ', '') if isinstance(value, tuple) else str(value)

  return ' '.join(f'{key}={shown(value)}' for key, value in sorted(changes.items()))


def published(of_row: dict) -> str:
  figures = {kind: of_row[kind] for kind in KINDS if kind in of_row}
  told = (f'{kind} {" / ".join(f"{x:.2f}" for x in values)}' for kind, values in figures.items())
  return ' · '.join(told) or '–'


def command(name: str, row: str, of_row: dict) -> str:
  if 'ensemble' in of_row:
    return f'pspnet submit --workdir={",".join(of_row["ensemble"])}'
  return f'{name}:{row}'


def ours(name: str, row: str, of_row: dict, config: dict, kept: dict) -> str:
  if found := kept.get(f'{name}:{row}'):
    return f'**{figures.stated(found)}**'
  if 'unreachable' in of_row:
    return f'cannot be run: needs {of_row["unreachable"]}'
  needs = [config['data.name'], config.get('init_from', '')] if config else [*of_row['ensemble']]
  needs += ['an accelerator'] if config else []
  needs += ["for the test figure the benchmark's server"] if 'test' in of_row else []
  return f'not run: needs {", ".join(x for x in needs if x)}'


def changes(config: dict, first: dict, others: dict) -> str:
  """What a row changes of the first row of its file, or the row that it trains exactly like."""
  if not config:
    return '–'
  same = next((row for row, other in others.items() if other == config), None)
  if same is not None:
    return f'trained as {same}'
  keys = {*config, *first} - {'init_from', 'eval_every'}
  changed = {key: config.get(key, 'default') for key in keys if config.get(key) != first.get(key)}
  return flags(changed) or '–'


def prose(name: str) -> tuple[str, str]:
  """A config's title and what its docstring says of sources and differences."""
  text = (ROOT / 'configs' / f'{name}.py').read_text().split('"""')[1]
  title, *paragraphs = text.strip().split('\n\n')
  told = [p for p in paragraphs if not p.startswith(('pspnet ', '    '))]
  return title.rstrip('.'), '\n\n'.join(told)


def table(name: str, rows: dict, kept: dict) -> list[str]:
  titled = any('title' in of_row for of_row in rows.values())
  lines = [
    f'| {"row | " if titled else ""}--config= | changed from the first row | published | ours |',
    f'|---|---|---|---|{"---|" if titled else ""}',
  ]
  before: dict[str, dict] = {}
  for row, of_row in rows.items():
    config = config_of(name, row, of_row)
    first = next(iter(before.values()), config)
    cells = [of_row.get('title', '')] if titled else []
    cells += [f'`{command(name, row, of_row)}`', changes(config, first, before)]
    cells += [published(of_row), ours(name, row, of_row, config, kept)]
    lines.append(f'| {" | ".join(cells)} |')
    before[row] = config
  return lines


def page() -> str:
  kept = figures.load()
  rows = {name: python_file.rows(name) for name in names()}
  lines = [INTRODUCTION, count(rows, kept), '', '## Beyond the paper', '', BEYOND, '']
  lines += [*beyond(rows), '']
  for section, of_section in SECTIONS.items():
    lines += [f'## {section}', '']
    for name in of_section:
      title, told = prose(name)
      lines += [f'### {title}', '', *([told, ''] if told else [])]
      lines += [*table(name, rows[name], kept), '']
  lines += [
    '## Published, and without a config here',
    '',
    '| row | published | why |',
    '|---|---|---|',
  ]
  lines += [f'| {row} | {figure} | {why} |' for row, figure, why in WITHOUT]
  lines += ['', OTHER_NETWORKS]
  lines += ['', *measured(kept)]
  return '\n'.join(lines) + '\n'


def measured(kept: dict) -> list[str]:
  """Our own figures: the paper's ablations on generated scenes, and runs from scratch."""
  lines = ['## Measured here', '']
  if tables := ablations.measured():
    lines += [ABLATIONS, '', *(f'{ablations.markdown(table)}\n' for table in tables)]
  if found := curves.curves():
    lines += [CURVES, '', *(f'{curves.markdown(*of_run)}\n' for of_run in found.items())]
  lines += ['| --config= | mIoU, mean (lowest–highest) | seeds | measured | with |']
  lines += ['|---|---|---|---|---|']
  for name, found in kept.items():
    if not name.startswith(ablations.PREFIX):
      machine = found['machine']
      what = f'jax {machine["jax"]}, {machine["cores"]} cores of {machine["processor"]}'
      what += f', as {machine["devices"]} devices' if 'devices' in machine else ''
      cells = (f'`{name}`', figures.stated(found), ', '.join(found['seeds']), found['day'], what)
      lines.append(f'| {" | ".join(cells)} |')
  return lines


def beyond(rows: dict) -> list[str]:
  """The highest published figure of each data set and depth, beside the paper's and semseg's."""
  found: dict[tuple, dict] = {}
  for name, row, of_row in ((n, r, x) for n, of_name in rows.items() for r, x in of_name.items()):
    if 'ss' in of_row:
      config = config_of(name, row, of_row)
      of_key = found.setdefault((config['data.name'], config.get('model.depth', 50)), {})
      for kind in (name.rpartition('_')[2], 'highest'):
        if of_row['ss'][0] > of_key.get(kind, (0.0, ''))[0]:
          of_key[kind] = of_row['ss'][0], f'{name}:{row}'
  lines = ['| data | depth | paper | semseg | highest | trained as |', '|---|---|---|---|---|---|']
  for (data, depth), of_key in sorted(found.items()):
    if of_key.keys() & {'paper', 'pspnet50'}:
      theirs = [f'{of_key[x][0]:.2f}' if x in of_key else '–' for x in ('paper', 'pspnet50')]
      figure, config = of_key['highest']
      lines.append(f'| {data} | {depth} | {" | ".join(theirs)} | {figure:.2f} | `{config}` |')
  return lines


def count(rows: dict, kept: dict) -> str:
  """How many published rows there are, and how many of them are covered and measured."""
  known = {
    f'{name}:{row}': of_row
    for name, of_name in rows.items()
    for row, of_row in of_name.items()
    if any(kind in of_row for kind in KINDS)
  }
  cannot = sum('unreachable' in of_row for of_row in known.values())
  return (
    f'{len(known) + len(WITHOUT)} published rows: {len(known)} have a config here, of which '
    f'{cannot} cannot be run by anybody; {len(WITHOUT)} have none. '
    f'{len(known.keys() & kept.keys())} are measured.'
  )


def main():
  argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
  text = page()
  PAGE.write_text(text)
  print(next(line for line in text.splitlines() if 'published rows' in line))


if __name__ == '__main__':
  main()
