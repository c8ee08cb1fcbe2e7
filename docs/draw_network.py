"""Draws docs/images/network.svg: PSPNet-50 for an image of 473×473, top to bottom.

python docs/draw_network.py

Its colours are read on light and on dark pages: white on filled boxes, a middle grey beside them.
"""

from pathlib import Path

WIDTH, HEIGHT = 760, 700
GREY = '#78828e'  # 3.9 : 1 on white, 4.3 : 1 on the dark theme's page
BACKBONE, PYRAMID, HEAD, AUX = '#2f6db3', '#8a4fa8', '#b4471f', '#4d7a35'
STAGES = (
  ('stem', '64, 64, 128', '119²'),
  ('stage 1', '256', '119²'),
  ('stage 2', '512', '60²'),
  ('stage 3', '1024', '60²'),
  ('stage 4', '2048', '60²'),
)
BINS = (1, 2, 3, 6)


def text(x, y, said, *, fill=GREY, size=15, anchor='middle', weight='normal'):
  style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}"'
  return f'<text x="{x}" y="{y}" {style}>{said}</text>'


def box(x, y, width, height, fill, lines):
  """A filled box, its first line bold, all of them centred."""
  parts = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}"/>']
  top = y + height / 2 - 9.5 * (len(lines) - 1) + 5
  for i, line in enumerate(lines):
    style = {'weight': 'bold', 'size': 15} if i == 0 else {'size': 14}
    parts.append(text(x + width / 2, top + 19 * i, line, fill='#ffffff', **style))
  return parts


def arrow(*points, head=True):
  path = ' L '.join(f'{x} {y}' for x, y in points)
  end = ' marker-end="url(#head)"' if head else ''
  return f'<path d="M {path}" fill="none" stroke="{GREY}" stroke-width="1.8"{end}/>'


def grid(x, y, side, bins):
  """A square of bins × bins cells."""
  lines = [f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{PYRAMID}"/>']
  for i in range(1, bins):
    at = side * i / bins
    ends = ((x + at, y, x + at, y + side), (x, y + at, x + side, y + at))
    lines += [
      f'<path d="M {a:g} {b:g} L {c:g} {d:g}" stroke="#ffffff" stroke-width="1.5"/>'
      for a, b, c, d in ends
    ]
  return lines


def drawing():
  parts = []
  # The backbone, left to right.
  parts.append(text(52, 92, 'image', weight='bold'))
  parts.append(text(52, 112, '473×473×3'))
  parts.append(arrow((97, 96), (116, 96)))
  width, step = 112, 128
  for i, (name, channels, size) in enumerate(STAGES):
    x = 120 + step * i
    dilation = {3: 'dilation 2', 4: 'dilation 4'}.get(i)
    parts += box(x, 60, width, 74, BACKBONE, [name, channels, *([dilation] if dilation else [])])
    parts.append(text(x + width / 2, 154, size))
    if i:
      parts.append(arrow((x - step + width, 96), (x - 3, 96)))
  parts.append(text(120, 40, 'backbone: a ResNet', anchor='start', weight='bold'))

  # The auxiliary head, above stage 3.
  middle = 120 + 3 * step + width / 2
  parts.append(arrow((middle, 60), (middle, 36), (middle + 43, 36)))
  parts += box(middle + 46, 16, 140, 36, AUX, ['auxiliary head'])
  parts.append(text(middle - 8, 41, 'in training only', anchor='end'))

  # Down to the pyramid: the map itself, and four grids of it.
  end = 120 + 4 * step + width / 2
  columns = [x + 62 for x in (20, 172, 316, 460, 604)]
  parts.append(arrow((end, 164), (end, 192), (columns[0], 192), head=False))
  for x in columns:
    parts.append(arrow((x, 192), (x, 222 if x != columns[0] else 408)))
  parts.append(text(columns[0] + 10, 290, 'the map', anchor='start', weight='bold'))
  parts.append(text(columns[0] + 10, 310, 'itself', anchor='start', weight='bold'))
  for x, bins in zip(columns[1:], BINS, strict=True):
    parts += grid(x - 32, 226, 64, bins)
    parts.append(text(x + 40, 262, f'{bins}×{bins}', anchor='start'))
    parts.append(arrow((x, 290), (x, 311)))
    parts += box(x - 54, 315, 108, 48, PYRAMID, ['1×1', '512'])
    parts.append(arrow((x, 363), (x, 408)))
    parts.append(text(x + 8, 390, 'enlarged', anchor='start', size=14))
  parts.append(
    text(columns[0], 182, 'pyramid: means over ever smaller cells', anchor='start', weight='bold')
  )

  # The split bottleneck: a kernel for each part, and a sum.
  for x, what in zip(columns, ('2048', '512', '512', '512', '512'), strict=True):
    parts += box(x - 54, 412, 108, 48, HEAD, ['3×3', f'{what} → 512'])
  for x in columns:
    parts.append(arrow((x, 460), (x, 488), head=False))
  parts.append(arrow((columns[0], 488), (columns[-1], 488), head=False))
  centre = columns[2]
  parts.append(arrow((centre, 488), (centre, 511)))
  parts += box(centre - 120, 515, 240, 48, HEAD, ['sum', 'normalised, ReLU, dropout'])
  aside = ('the split head: exactly what', 'one 3×3 kernel gives on all', 'five concatenated')
  for i, line in enumerate(aside):
    parts.append(text(centre + 136, 528 + 19 * i, line, anchor='start', size=14))
  parts.append(arrow((centre, 563), (centre, 586)))
  parts += box(centre - 120, 590, 240, 48, HEAD, ['classifier', '1×1 → a logit a class, 60²'])
  parts.append(arrow((centre, 638), (centre, 662)))
  parts.append(text(centre, 682, 'enlarged: logits 473×473×classes', weight='bold'))

  marker = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    f'markerHeight="7" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="{GREY}"/></marker></defs>'
  )
  title = (
    '<title>PSPNet: a dilated ResNet, a pyramid of four pooled grids, a 3×3 convolution split into '
    'five, and a classifier</title>'
  )
  head = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
    f'height="{HEIGHT}" font-family="DejaVu Sans, Verdana, sans-serif" role="img">'
  )
  return '\n'.join([head, title, marker, *parts, '</svg>', ''])


if __name__ == '__main__':
  path = Path(__file__).parent / 'images' / 'network.svg'
  path.write_text(drawing(), encoding='utf-8')
  print(f'{path}: {path.stat().st_size / 1000:.0f} kB')
