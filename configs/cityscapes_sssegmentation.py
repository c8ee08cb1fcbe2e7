"""PSPNet on Cityscapes after CharlesPikachu's sssegmentation: 220 epochs of 2,975 images.

pspnet prepare --dataset=cityscapes --manual_dir=ZIPS
pspnet train --config=cityscapes_sssegmentation:r101 --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale (docs/modelzoo/pspnet/README.md of
SegmentationBLWX/sssegmentation). Protocol: `mmseg`, whole images fitted into 2048×1024.

Sources: ssseg/configs/pspnet and ssseg/configs/_base_. It is mmsegmentation's recipe but for the
length, an auxiliary head of 512 channels, and losses averaged over the valid pixels. -d16 has an
output stride of 16.
"""

import _mmseg

ROWS = {
  'r50': {
    'backbone': 'r50',
    'output_stride': 8,
    'ss': (79.05,),
    'checkpoint': 'pspnet_resnet50os8_cityscapes',
  },
  'r50-d16': {
    'backbone': 'r50',
    'output_stride': 16,
    'ss': (77.13,),
    'checkpoint': 'pspnet_resnet50os16_cityscapes',
  },
  'r101': {
    'backbone': 'r101',
    'output_stride': 8,
    'ss': (79.94,),
    'checkpoint': 'pspnet_resnet101os8_cityscapes',
  },
  'r101-d16': {
    'backbone': 'r101',
    'output_stride': 16,
    'ss': (77.43,),
    'checkpoint': 'pspnet_resnet101os16_cityscapes',
  },
}


def get_config(row):
  r = ROWS[row]
  sizes = {'crop_size': (512, 1024), 'scale': (2048, 1024)}
  c = _mmseg.base('cityscapes', r['backbone'], 81_620, **sizes)  # 220 epochs of 2,975 images
  c.batch_size = 8
  c.eval_every = 8_162
  c.model.update(aux_channels=512, output_stride=r['output_stride'])
  c.loss.avg_non_ignore = True
  return c
