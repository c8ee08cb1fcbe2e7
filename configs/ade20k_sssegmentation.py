"""PSPNet on ADE20K after CharlesPikachu's sssegmentation: 130 epochs of 20,210 images.

pspnet prepare --dataset=ade20k
pspnet train --config=ade20k_sssegmentation:r101 --workdir=/tmp/run

Published: mIoU of the validation images in percent, at one scale (docs/modelzoo/pspnet/README.md of
SegmentationBLWX/sssegmentation). Protocol: `mmseg`, whole images fitted into 2048×512.

Sources: ssseg/configs/pspnet and ssseg/configs/_base_. It is mmsegmentation's recipe but for the
length, an auxiliary head of 512 channels, and losses averaged over the valid pixels. -d16 has an
output stride of 16.
"""

import _mmseg

ROWS = {
  'r50': {
    'backbone': 'r50',
    'output_stride': 8,
    'ss': (42.64,),
    'checkpoint': 'pspnet_resnet50os8_ade20k',
  },
  'r50-d16': {
    'backbone': 'r50',
    'output_stride': 16,
    'ss': (40.23,),
    'checkpoint': 'pspnet_resnet50os16_ade20k',
  },
  'r101': {
    'backbone': 'r101',
    'output_stride': 8,
    'ss': (44.55,),
    'checkpoint': 'pspnet_resnet101os8_ade20k',
  },
  'r101-d16': {
    'backbone': 'r101',
    'output_stride': 16,
    'ss': (43.40,),
    'checkpoint': 'pspnet_resnet101os16_ade20k',
  },
}


def get_config(row):
  r = ROWS[row]
  c = _mmseg.base('ade20k', r['backbone'], 164_190)  # 130 epochs of 20,210 images
  c.model.update(aux_channels=512, output_stride=r['output_stride'])
  c.loss.avg_non_ignore = True
  return c
