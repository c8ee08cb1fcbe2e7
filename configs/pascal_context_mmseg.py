"""PSPNet on PASCAL Context after open-mmlab/mmsegmentation: 60 classes, or 59 without background.

pspnet prepare --dataset=pascal_context
pspnet train --config=pascal_context_mmseg:59-r101-80k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg_slide`, windows of 480×480 that lie 320
pixels apart, in images fitted into 520×520.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  '60-r101-40k': {
    'backbone': 'r101',
    'steps': 40_000,
    'ss': (46.6,),
    'ms': (47.78,),
    'checkpoint': 'pspnet_r101-d8_4xb4-40k_pascal-context-480x480',
  },
  '60-r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (46.03,),
    'ms': (47.15,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_pascal-context-480x480',
  },
  '59-r101-40k': {
    'backbone': 'r101',
    'steps': 40_000,
    'ss': (52.02,),
    'ms': (53.54,),
    'checkpoint': 'pspnet_r101-d8_4xb4-40k_pascal-context-59-480x480',
  },
  '59-r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (52.47,),
    'ms': (53.99,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_pascal-context-59-480x480',
  },
}


def get_config(row):
  r = ROWS[row]
  data = 'pascal_context_59' if row.startswith('59') else 'pascal_context'
  c = _mmseg.base(data, r['backbone'], r['steps'], crop_size=(480, 480), scale=(520, 520))
  c.optimizer.update(base_lr=0.004, weight_decay=1e-4)
  c.eval.update(protocol='mmseg_slide', stride=320 / 480)
  c.eval_every = r['steps'] // 10
  return c
