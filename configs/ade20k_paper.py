"""PSPNet on ADE20K as the paper trains it: tables 1 to 5 of Zhao et al. 2017 (arXiv:1612.01105).

pspnet prepare --dataset=ade20k
pspnet train --config=ade20k_paper:table1-b1-max --workdir=/tmp/table1

Published: mIoU and pixel accuracy of the validation images in percent, at one scale and at six;
the rows of table 5 are the score of the challenge's test images, which its server gives. Protocol:
`caffe`, the evaluation code that the authors released (hszhao/PSPNet).

Sources: section 4 for the schedule, the augmentation and the batch; the released prototxts for the
crop, the rates of biases and normalisation, and dropout by elements. What differs: the ImageNet
weights (theirs were not published; timm's have the same stem, but the stride of a stage in its 3×3
instead of its 1×1 convolution), the batch statistics' momentum (0.9; Caffe 0.95), and pixels are
scaled by their deviation, as those weights want them.

Left open by the paper: what table 4 means by "without augmentation" (here images keep their scale
and are neither turned, blurred nor mirrored, but cropped), whether table 5 trains on the validation
images too (here it does), its depths and its ensemble (here depths 101 and 152, the mean of
probabilities).
"""

import _paper

_NO_269 = 'ImageNet weights of a ResNet-269, which nobody has published'

ROWS = {
  'table1-baseline': {'title': 'baseline', 'ss': (37.23, 78.01), 'changes': {'model.bins': ()}},
  'table1-b1-max': {
    'title': 'B1 + max',
    'ss': (39.94, 79.46),
    'changes': {'model.bins': (1,), 'model.pooling': 'max', 'model.reduce_dimension': False},
  },
  'table1-b1-ave': {
    'title': 'B1 + average',
    'ss': (40.07, 79.52),
    'changes': {'model.bins': (1,), 'model.reduce_dimension': False},
  },
  'table1-b1236-max': {
    'title': 'B1236 + max',
    'ss': (40.18, 79.45),
    'changes': {'model.pooling': 'max', 'model.reduce_dimension': False},
  },
  'table1-b1236-ave': {
    'title': 'B1236 + average',
    'ss': (41.07, 79.97),
    'changes': {'model.reduce_dimension': False},
  },
  'table1-b1236-max-dr': {
    'title': 'B1236 + max + DR',
    'ss': (40.87, 79.61),
    'changes': {'model.pooling': 'max'},
  },
  'table1-b1236-ave-dr': {'title': 'B1236 + average + DR', 'ss': (41.68, 80.04)},
  'table2-none': {
    'title': 'no auxiliary loss',
    'ss': (35.82, 77.07),
    'changes': {'model.bins': (), 'model.aux_head': False},
  },
  'table2-0.3': {
    'title': 'auxiliary weight 0.3',
    'ss': (37.01, 77.87),
    'changes': {'model.bins': (), 'aux_weight': 0.3},
  },
  'table2-0.4': {
    'title': 'auxiliary weight 0.4',
    'ss': (37.23, 78.01),
    'changes': {'model.bins': ()},
  },
  'table2-0.6': {
    'title': 'auxiliary weight 0.6',
    'ss': (37.09, 77.84),
    'changes': {'model.bins': (), 'aux_weight': 0.6},
  },
  'table2-0.9': {
    'title': 'auxiliary weight 0.9',
    'ss': (36.99, 77.87),
    'changes': {'model.bins': (), 'aux_weight': 0.9},
  },
  'table3-50': {'title': 'PSPNet-50', 'ss': (41.68, 80.04), 'ms': (42.78, 80.76)},
  'table3-101': {
    'title': 'PSPNet-101',
    'ss': (41.96, 80.64),
    'ms': (43.29, 81.39),
    'changes': {'model.depth': 101},
  },
  'table3-152': {
    'title': 'PSPNet-152',
    'ss': (42.62, 80.80),
    'ms': (43.51, 81.38),
    'changes': {'model.depth': 152},
  },
  'table3-269': {
    'title': 'PSPNet-269',
    'ss': (43.81, 80.88),
    'ms': (44.94, 81.69),
    'changes': {'model.depth': 269},
    'unreachable': _NO_269,
  },
  'table4-baseline': {
    'title': 'ResNet-50',
    'ss': (34.28, 76.35),
    'changes': {
      'model.bins': (),
      'model.aux_head': False,
      'augment.scale': (1.0, 1.0),
      'augment.rotate_probability': 0.0,
      'augment.blur_probability': 0.0,
      'augment.flip_probability': 0.0,
    },
  },
  'table4-da': {
    'title': '+ data augmentation',
    'ss': (35.82, 77.07),
    'changes': {'model.bins': (), 'model.aux_head': False},
  },
  'table4-da-al': {
    'title': '+ auxiliary loss',
    'ss': (37.23, 78.01),
    'changes': {'model.bins': ()},
  },
  'table4-da-al-psp': {'title': '+ pyramid', 'ss': (41.68, 80.04)},
  'table4-269': {
    'title': '+ 269 layers',
    'ss': (43.81, 80.88),
    'changes': {'model.depth': 269},
    'unreachable': _NO_269,
  },
  'table4-269-ms': {
    'title': '+ six scales',
    'ms': (44.94, 81.69),
    'changes': {'model.depth': 269},
    'unreachable': _NO_269,
  },
  'table5-101': {
    'title': 'a member of the ensemble',
    'changes': {'model.depth': 101, 'data.train.split': 'trainval'},
  },
  'table5-152': {
    'title': 'single model',
    'test': (55.38,),
    'changes': {'model.depth': 152, 'data.train.split': 'trainval'},
    'server': 'ade20k',
  },
  'table5-ensemble': {
    'title': 'ensemble',
    'test': (57.21,),
    'ensemble': ('table5-101', 'table5-152'),
    'server': 'ade20k',
  },
}


def get_config(row):
  r = ROWS[row]
  if 'ensemble' in r:
    members = ' and '.join(r['ensemble'])
    raise ValueError(f'{row} is no training: train {members}, then give both with --workdir=A,B')
  changes = r.get('changes', {})
  c = _paper.base('ade20k', 150_000, crop=473, base_size=512, depth=50, changes=changes)
  # 2,000 images in overlapping windows take a while, and tell nothing where they are trained on.
  c.eval_every = 0 if c.data.train.split == 'trainval' else 20_000
  return c
