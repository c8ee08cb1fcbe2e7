import pytest

from pspnet_jax.planning import hlo
from pspnet_jax.planning.touching import touched

KB = 1024
TEXT = """HloModule text

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%picked (logits: f32[64,256], at: s32[64,1]) -> f32[64] {
  %logits = f32[64,256]{1,0} parameter(0)
  %at = s32[64,1]{1,0} parameter(1)
  ROOT %found = f32[64]{0} gather(%logits, %at), offset_dims={}, slice_sizes={1,1}
}

%added (zeros: f32[64,256], at: s32[64,1], g: f32[64]) -> f32[64,256] {
  %zeros = f32[64,256]{1,0} parameter(0)
  %at = s32[64,1]{1,0} parameter(1)
  %g = f32[64]{0} parameter(2)
  ROOT %sum = f32[64,256]{1,0} scatter(%zeros, %at, %g), to_apply=%add
}

%filled (at: s32[64,1], g: f32[64]) -> f32[64,256] {
  %at = s32[64,1]{1,0} parameter(0)
  %g = f32[64]{0} parameter(1)
  %zero = f32[] constant(0)
  %zeros = f32[64,256]{1,0} broadcast(%zero), dimensions={}
  ROOT %sum = f32[64,256]{1,0} scatter(%zeros, %at, %g), to_apply=%add
}

%unused (x: f32[256], y: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  %y = f32[256]{0} parameter(1)
  ROOT %z = f32[256]{0} negate(%y)
}

ENTRY %main (x: f32[64,256], at: s32[64,1], g: f32[64], v: f32[256], i: s32[]) -> f32[] {
  %x = f32[64,256]{1,0} parameter(0)
  %at = s32[64,1]{1,0} parameter(1)
  %g = f32[64]{0} parameter(2)
  %v = f32[256]{0} parameter(3)
  %i = s32[] parameter(4)
  ROOT INSTRUCTION
}
"""


@pytest.mark.parametrize(
  ('instruction', 'read', 'written'),
  [
    ('%y = f32[256]{0} add(%v, %v)', 2 * KB, KB),
    ('%y = f32[1,256]{1,0} dynamic-slice(%x, %i, %i)', KB + 8, KB),
    ('%y = f32[64,1]{1,0} slice(%x), slice={[0:64], [0:1]}', 256, 256),
    ('%y = f32[64]{0} gather(%x, %at)', 256 + 256, 256),
    ('%y = f32[64]{0} fusion(%x, %at), kind=kLoop, calls=%picked', 256 + 256, 256),
    ('%y = f32[64,256]{1,0} scatter(%x, %at, %g), to_apply=%add', 256 + 256 + 256, 256),
    ('%y = f32[64,256]{1,0} fusion(%x, %at, %g), kind=kInput, calls=%added', 3 * 256, 256),
    ('%y = f32[64,256]{1,0} fusion(%at, %g), kind=kInput, calls=%filled', 2 * 256, 64 * KB),
    ('%y = f32[256]{0} fusion(%v, %v), kind=kLoop, calls=%unused', KB, KB),
    ('%y = f32[256]{0} reduce(%x, %i), dimensions={0}, to_apply=%add', 64 * KB + 4, KB),
    ('%y = f32[64]{0} custom-call(%g), custom_call_target="Sharding"', 0, 0),
    # Two devices: half of what is gathered is sent, all of it is there afterwards.
    ('%y = (f32[64]{0}, f32[128]{0}) all-gather-start(%g), dimensions={0}', 256, 512),
    ('%y = ((f32[64,256]{1,0}), f32[1,256]{1,0}, s32[]) slice-start(%x)', KB, KB),
  ],
)
def test_what_is_read_and_what_is_written(instruction, read, written):
  program = hlo.read(TEXT.replace('INSTRUCTION', instruction))
  found = touched(program.entry.root, program.entry, program.computations)
  assert sum(x.bytes for x in found if x.operand is not None) == read
  assert sum(x.bytes for x in found if x.operand is None) == written
