"""Tables 1 and 2 of the paper, and its stride of 8, on generated scenes: a row in a minute or two.

pspnet train --config=context_ablations:table1-b1236-ave-dr --workdir=/tmp/row

A row changes here what it changes in ade20k_paper.py, of whose figures the published ones are. What
a vehicle is shows at the edge of its own half of the scene, from nearer than a fifth to about half
of the width away. Nearly all of that is within sight of the ResNet-10 without a pyramid, and the
1×1 bin, which pools the whole image, sees the evidence of both halves: nothing is decided before it
is tried. All else is as in context_scenes.py, for 240 steps.

`python -m benchmarks.ablations` compares the rows, trained with three seeds each.
"""

import ade20k_paper
import context_scenes

ROWS = {
  **{
    name: row for name, row in ade20k_paper.ROWS.items() if name.startswith(('table1-', 'table2-'))
  },
  'stride-8': {'title': 'output stride 8'},
  'stride-16': {'title': 'output stride 16', 'changes': {'model.output_stride': 16}},
  'stride-32': {'title': 'output stride 32', 'changes': {'model.output_stride': 32}},
}


def get_config(row='table1-b1236-ave-dr'):
  c = context_scenes.get_config()
  c.total_steps = 240
  c.crop_size = (193, 257)
  c.data.update(banks=2, size=(193, 257))
  c.update_from_flattened_dict(ROWS[row].get('changes', {}))
  return c
