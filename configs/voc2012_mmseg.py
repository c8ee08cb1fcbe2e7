"""PSPNet on PASCAL VOC 2012 with SBD's labels after open-mmlab/mmsegmentation: 16 crops of 512×512.

pspnet prepare --dataset=voc2012
pspnet train --config=voc2012_mmseg:r50-40k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole images fitted into 2048×512.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  'r50-20k': {
    'backbone': 'r50',
    'steps': 20_000,
    'ss': (76.78,),
    'ms': (77.61,),
    'checkpoint': 'pspnet_r50-d8_4xb4-20k_voc12aug-512x512',
  },
  'r101-20k': {
    'backbone': 'r101',
    'steps': 20_000,
    'ss': (78.47,),
    'ms': (79.25,),
    'checkpoint': 'pspnet_r101-d8_4xb4-20k_voc12aug-512x512',
  },
  'r50-40k': {
    'backbone': 'r50',
    'steps': 40_000,
    'ss': (77.29,),
    'ms': (78.48,),
    'checkpoint': 'pspnet_r50-d8_4xb4-40k_voc12aug-512x512',
  },
  'r101-40k': {
    'backbone': 'r101',
    'steps': 40_000,
    'ss': (78.52,),
    'ms': (79.57,),
    'checkpoint': 'pspnet_r101-d8_4xb4-40k_voc12aug-512x512',
  },
}


def get_config(row):
  r = ROWS[row]
  c = _mmseg.base('voc2012', r['backbone'], r['steps'])
  c.data.train.split = 'trainaug'
  return c
