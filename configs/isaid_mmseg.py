"""PSPNet on iSAID after open-mmlab/mmsegmentation: 80,000 steps of 16 crops of 896×896.

pspnet prepare --dataset=isaid --manual_dir=ARCHIVES
pspnet train --config=isaid_mmseg:r50-80k --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale and at six with the mirror image
(configs/pspnet/metafile.yaml of v1.2.2). Protocol: `mmseg`, whole tiles of 896×896.

Sources: configs/pspnet and configs/_base_ of open-mmlab/mmsegmentation. What differs: the
classifiers begin as torch begins a convolution, there with normal deviates of 0.01.
"""

import _mmseg

ROWS = {
  'r50-80k': {
    'backbone': 'r50',
    'steps': 80_000,
    'ss': (65.36,),
    'ms': (66.48,),
    'checkpoint': 'pspnet_r50-d8_4xb4-80k_isaid-896x896',
  },
  'r18-80k': {
    'backbone': 'r18',
    'steps': 80_000,
    'ss': (60.22,),
    'ms': (61.25,),
    'checkpoint': 'pspnet_r18-d8_4xb4-80k_isaid-896x896',
  },
}


def get_config(row):
  r, tile = ROWS[row], (896, 896)
  return _mmseg.base('isaid', r['backbone'], r['steps'], crop_size=tile, scale=tile)
