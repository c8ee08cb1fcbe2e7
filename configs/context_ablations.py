"""Tables 1 and 2 of the paper, and its stride of 8, on generated scenes: a row in a minute or two.

pspnet train --config=context_ablations:b1236-avg-dr --workdir=/tmp/row

What a vehicle is shows at the edge of its own half of the scene, from nearer than a fifth to about
half of the width away. Nearly all of that is within sight of the ResNet-10 without a pyramid, and
the 1×1 bin, which pools the whole image, sees the evidence of both halves: nothing is decided
before it is tried. The rest is as in context_scenes.py, for 240 steps.

`python -m benchmarks.ablations` trains all rows with three seeds; docs/reproducing.md has what came
of it. Published are the paper's figures on ADE20K with 50 layers, mIoU and pixel accuracy in %.
"""

import context_scenes

NO_PYRAMID, NO_REDUCTION = {'bins': ()}, {'reduce_dimension': False}
MAX = {'pooling': 'max'}
# What a row changes. Table 2 is about the network without a pyramid, as in the paper.
ROWS = {
  'baseline': {'table': 'Table 1', 'model': NO_PYRAMID, 'published': (37.23, 78.01)},
  'b1-max': {
    'table': 'Table 1',
    'model': {'bins': (1,), **MAX, **NO_REDUCTION},
    'published': (39.94, 79.46),
  },
  'b1-avg': {
    'table': 'Table 1',
    'model': {'bins': (1,), **NO_REDUCTION},
    'published': (40.07, 79.52),
  },
  'b1236-max': {'table': 'Table 1', 'model': MAX | NO_REDUCTION, 'published': (40.18, 79.45)},
  'b1236-avg': {'table': 'Table 1', 'model': NO_REDUCTION, 'published': (41.07, 79.97)},
  'b1236-max-dr': {'table': 'Table 1', 'model': MAX, 'published': (40.87, 79.61)},
  'b1236-avg-dr': {'table': 'Table 1', 'model': {}, 'published': (41.68, 80.04)},
  'aux-0': {
    'table': 'Table 2',
    'model': NO_PYRAMID,
    'aux_weight': 0.0,
    'published': (35.82, 77.07),
  },
  'aux-0.3': {
    'table': 'Table 2',
    'model': NO_PYRAMID,
    'aux_weight': 0.3,
    'published': (37.01, 77.87),
  },
  'aux-0.6': {
    'table': 'Table 2',
    'model': NO_PYRAMID,
    'aux_weight': 0.6,
    'published': (37.09, 77.84),
  },
  'aux-0.9': {
    'table': 'Table 2',
    'model': NO_PYRAMID,
    'aux_weight': 0.9,
    'published': (36.99, 77.87),
  },
  'stride-16': {'table': 'stride', 'model': {'output_stride': 16}},
  'stride-32': {'table': 'stride', 'model': {'output_stride': 32}},
}


def get_config(row='b1236-avg-dr'):
  if row not in ROWS:
    raise ValueError(f'{row!r} is no row: give {", ".join(ROWS)}')
  c = context_scenes.get_config()
  c.total_steps = 240
  c.crop_size = (193, 257)
  c.data.update(banks=2, size=(193, 257))
  c.model.update(ROWS[row]['model'])
  c.aux_weight = ROWS[row].get('aux_weight', 0.4)
  return c
