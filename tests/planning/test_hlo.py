import jax
import jax.numpy as jnp
import pytest

from pspnet_jax.planning import hlo
from pspnet_jax.planning.hlo import Array

TEXT = """HloModule jit_step, is_scheduled=true, \
entry_computation_layout={(f32[8,4]{1,0})->f32[4]{0}}

FileNames
1 "step.py"

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

ENTRY %main (p1: f32[8,4], p0: s32[]) -> (f32[4], s32[]) {
  %p1 = f32[8,4]{1,0} parameter(1), metadata={op_name="state.params[\\'backbone/stem\\']"}
  %p0 = s32[] parameter(0)
  %zero = f32[] constant(0)
  %pair = (f32[4]{0}, /*index=1*/s8[64]{0}) custom-call(%p1), custom_call_target="sum", \
window={size=2x2 pad=0_1x0_1}, metadata={op_name="jit(step)/jvp(stem)/sum (\\"a\\")"}
  %first = f32[4]{0} get-tuple-element(%pair), index=0
  %same = f32[2,2]{1,0} bitcast(%first)
  %reduced = f32[4]{0} reduce(%p1, %zero), dimensions={0}, to_apply=%add
  ROOT %out = (f32[4]{0}, s32[]) tuple(%reduced, %p0)
}
"""


def test_instructions_are_taken_apart():
  program = hlo.read(TEXT)
  assert program.entry.name == 'main' and program.computations.keys() == {'add', 'main'}
  [pair] = [x for x in program.entry if x.opcode == 'custom-call']
  assert pair.arrays == (Array('f32', (4,), '0'), Array('s8', (64,), '0'))
  assert pair.operands == ('p1',) and not pair.called
  assert pair.attribute('custom_call_target') == 'sum'
  assert pair.attribute('window') == 'size=2x2 pad=0_1x0_1'
  assert pair.op_name == 'jit(step)/jvp(stem)/sum (\\"a\\")'
  assert program.entry.root.name == 'out'
  assert [x.name for x in program.entry.parameters] == ['p0', 'p1']
  assert [x.name for x in program.entry.users['p1']] == ['pair', 'reduced']
  assert not program.entry.instructions['reduced'].called  # that of two numbers is no work
  assert program.entry.source('same') == 'pair/0'


@pytest.mark.parametrize(
  ('text', 'size', 'on_chip'),
  [
    ('f32[]', 4, False),
    ('bf16[3,5]{1,0}', 30, False),
    ('f32[<=5]', 20, False),
    ('s4[3,4]{1,0}', 6, False),
    ('token[]', 0, False),
    # A tile of 8 × 128 covers the two innermost dimensions, which the layout names.
    ('f32[3,5]{1,0:T(8,128)}', 4 * 8 * 128, False),
    ('bf16[2,16,200]{2,1,0:T(8,128)(2,1)S(1)}', 2 * 2 * 16 * 256, True),
    ('bf16[16,200,2]{1,0,2:T(8,128)(2,1)}', 2 * 2 * 16 * 256, False),
    ('f32[129]{0:T(128)}', 4 * 256, False),
  ],
)
def test_bytes_are_those_of_whole_tiles(text, size, on_chip):
  [array] = Array.all_in(text)
  assert array.bytes == size and array.on_chip is on_chip


def test_a_compiled_program_is_read_whole():
  x = jax.ShapeDtypeStruct((8, 128), jnp.float32)
  compiled = jax.jit(lambda x: jnp.tanh(x @ x.T).sum()).lower(x).compile()
  text = compiled.as_text()
  program = hlo.read(text)
  opcodes = {i.opcode for computation in program.computations.values() for i in computation}
  assert 'parameter' in opcodes and opcodes & {'dot', 'custom-call', 'fusion'}
  lines = [line for line in text.splitlines() if line.startswith(' ') and ' = ' in line]
  assert sum(len(c.instructions) for c in program.computations.values()) == len(lines)


def test_what_is_no_program_is_refused():
  with pytest.raises(ValueError, match='no entry'):
    hlo.read('HloModule empty')
