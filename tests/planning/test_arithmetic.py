import jax
import jax.numpy as jnp
import pytest
from jax import lax

from pspnet_jax.planning import arithmetic, counting, hlo

PRODUCTS = """HloModule products

ENTRY %main (x: bf16[2,8,8,3], w: bf16[3,3,3,16], dy: bf16[2,4,4,16], a: f32[5,7], b: f32[7,9]) -> bf16[] {
  %x = bf16[2,8,8,3]{3,2,1,0} parameter(0)
  %w = bf16[3,3,3,16]{3,2,1,0} parameter(1)
  %dy = bf16[2,4,4,16]{3,2,1,0} parameter(2)
  %a = f32[5,7]{1,0} parameter(3)
  %b = f32[7,9]{1,0} parameter(4)
  %c = f32[4,5,7]{2,1,0} parameter(5)
  %d = f32[4,7,9]{2,1,0} parameter(6)
  ROOT CALL
}
"""  # noqa: E501
WINDOW = 'window={size=3x3 stride=2x2 pad=1_1x1_1}'
# A convolution of stride 2 has one tap of twelve in the padding along a side, backward too.
SUMS = 2 * 2 * 16 * 3 * 11 * 11


@pytest.mark.parametrize(
  ('call', 'expected'),
  [
    (
      '%y = (bf16[2,4,4,16]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), '
      f'{WINDOW}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convForward"',
      {'bf16': SUMS},
    ),
    (
      '%y = (bf16[2,8,8,3]{3,2,1,0}, u8[0]{0}) custom-call(%dy, %w), '
      f'{WINDOW}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardInput"',
      {'bf16': SUMS},
    ),
    (
      '%y = (bf16[3,3,3,16]{3,2,1,0}, u8[0]{0}) custom-call(%x, %dy), '
      f'{WINDOW}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardFilter"',
      {'bf16': SUMS},
    ),
    (
      f'%y = bf16[2,4,4,16]{{3,2,1,0}} convolution(%x, %w), {WINDOW}, dim_labels=b01f_01io->b01f',
      {'bf16': SUMS},
    ),
    (  # the gradient of the image, by XLA: three of four elements of what it reads are holes
      '%y = bf16[2,8,8,3]{3,2,1,0} convolution(%dy, %w), '
      'window={size=3x3 pad=1_2x1_2 lhs_dilate=2x2 rhs_reversal=1x1}, dim_labels=b01f_01oi->b01f',
      {'bf16': SUMS},
    ),
    (  # on a TPU, the products of a batch of matrices: [4, 5, 7] by [4, 7, 9]
      '%y = f32[4,5,9]{2,1,0} convolution(%c, %d), '
      'window={size=4 stride=3 lhs_dilate=4}, dim_labels=0bf_0io->0bf',
      {'f32': 2 * 4 * 5 * 7 * 9},
    ),
    (
      '%y = f32[5,9]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}, '
      'operand_precision={highest,highest}',
      {'f32 highest': 2 * 5 * 7 * 9},
    ),
    (
      '%y = (f32[5,9]{1,0}, s8[4194304]{0}) custom-call(%a, %b), '
      'custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{'
      '"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]},"precision_config":'
      '{"operand_precision":["DEFAULT","DEFAULT"],"algorithm":"ALG_DOT_BF16_BF16_F32_X3"}}}',
      {'f32 bf16_bf16_f32_x3': 2 * 5 * 7 * 9},
    ),
    (  # a kernel of one's own that says what it does
      '%y = f32[5,9]{1,0} custom-call(%a, %b), custom_call_target="tpu_custom_call", '
      'backend_config={"custom_call_config":{"cost_estimate":{"flops":"630","bytes_accessed":"4"}}}',
      {'f32': 630},
    ),
    ('%y = f32[5,7]{1,0} add(%a, %a)', {}),
  ],
)
def test_flops_of_each_kind_of_product(call, expected):
  entry = hlo.read(PRODUCTS.replace('CALL', call)).entry
  operands = [entry.instructions[name].arrays[0] for name in entry.root.operands]
  assert arithmetic.of(entry.root, operands) == expected


@pytest.mark.parametrize('gradient', ['forward', 'both gradients'])
def test_compiled_products_count_what_they_are_made_of(gradient):
  """XLA may turn the products of a gradient round, but not change how much they are."""

  def convolved(x, kernel):
    axes = ('NHWC', 'HWIO', 'NHWC')
    y = lax.conv_general_dilated(x, kernel, (1, 1), 'VALID', dimension_numbers=axes)
    return (y * y).sum()

  x, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 9, 9, 4), (3, 3, 4, 8)))
  function = convolved if gradient == 'forward' else jax.grad(convolved, (0, 1))
  text = jax.jit(function).lower(x, kernel).compile().as_text()
  if '__onednn' in text or 'custom_call_target="__ynn' in text:
    pytest.skip('XLA handed the convolution to a library that this reading does not know')
  found = sum(counting.count(hlo.read(text)).flops.values())
  forward = 2 * 2 * 7 * 7 * 8 * 9 * 4
  assert found == forward * (1 if gradient == 'forward' else 3)
