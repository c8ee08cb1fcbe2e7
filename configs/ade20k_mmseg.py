"""PSPNet on ADE20K after open-mmlab/mmsegmentation: 80,000 and 160,000 steps of 16 crops.

pspnet prepare --dataset=ade20k
pspnet train --config=ade20k_mmseg:r50-160k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole images fitted into 2048×512.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  'r50-80k': {
    'backbone': 'r50',
    'steps': 80_000,
    'ss': (41.13,),
    'ms': (41.94,),
    'checkpoint': 'pspnet_r50-d8_4xb4-80k_ade20k-512x512',
  },
  'r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (43.57,),
    'ms': (44.35,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_ade20k-512x512',
  },
  'r50-160k': {
    'backbone': 'r50',
    'steps': 160_000,
    'ss': (42.48,),
    'ms': (43.44,),
    'checkpoint': 'pspnet_r50-d8_4xb4-160k_ade20k-512x512',
  },
  'r101-160k': {
    'backbone': 'r101',
    'steps': 160_000,
    'ss': (44.39,),
    'ms': (45.35,),
    'checkpoint': 'pspnet_r101-d8_4xb4-160k_ade20k-512x512',
  },
}


def get_config(row):
  r = ROWS[row]
  return _mmseg.base('ade20k', r['backbone'], r['steps'])
