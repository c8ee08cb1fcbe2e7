"""PSPNet on ISPRS Potsdam after open-mmlab/mmsegmentation: 80,000 steps of 16 crops of 512×512.

pspnet prepare --dataset=potsdam --manual_dir=ARCHIVES
pspnet train --config=potsdam_mmseg:r50-80k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole tiles of 512×512.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  'r50-80k': {
    'backbone': 'r50',
    'steps': 80_000,
    'ss': (78.12,),
    'ms': (78.98,),
    'checkpoint': 'pspnet_r50-d8_4xb4-80k_potsdam-512x512',
  },
  'r101-80k': {
    'backbone': 'r101',
    'steps': 80_000,
    'ss': (78.62,),
    'ms': (79.47,),
    'checkpoint': 'pspnet_r101-d8_4xb4-80k_potsdam-512x512',
  },
  'r18-80k': {
    'backbone': 'r18',
    'steps': 80_000,
    'ss': (77.09,),
    'ms': (78.3,),
    'checkpoint': 'pspnet_r18-d8_4xb4-80k_potsdam-512x512',
  },
}


def get_config(row):
  r = ROWS[row]
  return _mmseg.base('potsdam', r['backbone'], r['steps'], scale=(512, 512))
