"""Masked layers against torch's own on the masked weight, over shapes, masks, dtypes and orders."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
import torch
from torch.nn import functional

from edt import _core
from edt.errors import ShapeError
from edt.nn import MaskedConv2d, MaskedLinear
from edt.ops.threads import torch_threads

#: Sums of some hundred products near 1: rounding of their order, u sqrt(n) and a margin of ten.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 5e-5}


def drawn(seed):
    """A random layer, its input and its mask: sizes that leave remainders everywhere."""
    draw = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    groups = draw.choice([1, 1, 1, 2, 3])
    c_in, c_out = groups * draw.randint(1, 5), groups * draw.randint(1, 6)
    kernel = (draw.randint(1, 5), draw.randint(1, 5))
    stride = (draw.randint(1, 3), draw.randint(1, 4))
    dilation = (draw.randint(1, 2), draw.randint(1, 3))
    padding = draw.choice([0, 1, (2, 3), "valid", "same"])
    stride = 1 if padding == "same" else stride
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [low + draw.randint(0, 19) for low in least]
    layer = MaskedConv2d(
        c_in, c_out, kernel, stride, padding, dilation, groups, bias=draw.random() < 0.5,
        dtype=draw.choice([torch.float32, torch.float64]), kernel="sparse",
    )  # fmt: skip
    density = draw.choice([0.0, 0.05, 0.3, 1.0])
    mask = torch.rand(layer.weight.shape, generator=generator) < density
    if density == 0.05:
        mask.view(-1)[draw.randrange(mask.numel())] = True
    layer.set_mask(mask)
    shape = (draw.choice([1, 3, 8, 16, 17, 40]), c_in, *size)
    x = torch.randn(shape, dtype=layer.weight.dtype, generator=generator)
    return layer, x


def agree(found, known):
    for a, b in zip(found, known, strict=True):
        if a is None or b is None:
            assert a is None and b is None
            continue
        a, b = a.detach(), b.detach()
        bound = TOLERANCE[a.dtype] * max(1.0, float(b.abs().max()) if b.numel() else 0.0)
        assert a.shape == b.shape and float((a - b).abs().max() if a.numel() else 0.0) <= bound


def slopes(layer, x, g):
    given = x.clone().requires_grad_(True)
    out = layer(given)
    return [out.detach(), *torch.autograd.grad((out * g).sum(), [given, *layer.parameters()])]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("seed", range(60))
def test_convolutions(seed):
    layer, x = drawn(seed)
    assert layer.chosen(x) == "sparse"
    known = copy.deepcopy(layer)
    known.kernel = "dense"
    with torch.no_grad():
        g = torch.randn_like(known(x))
    agree(slopes(layer, x, g), slopes(known, x, g))
    assert layer.compiled == 1 and known.compiled == 0


def in_place(layer):
    (layout,) = layer._taps().layouts.values()
    return layout.core.in_place


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "size, kernel, padding, dilation",
    [
        ((7, 7), 3, 1, 1), ((8, 8), 3, 1, 1), ((14, 14), 5, 2, 1), ((5, 17), (3, 5), (1, 2), 1),
        ((9, 16), 3, (0, 1), 1), ((6, 31), 3, (4, 2), 2), ((9, 8), (2, 1), 0, 1),
        ((12, 33), 3, (12, 1), 1), ((33, 13), (5, 3), (1, 4), 4),
    ],
)  # fmt: skip
def test_few_taps_on_images_where_they_lie(dtype, size, kernel, padding, dilation):
    """Rows of any remainder, planes that do not fill vectors, taps that are outside everywhere."""
    torch.manual_seed(sum(size))
    for samples, c_in, c_out, groups, bias in ((1, 4, 6, 2, True), (11, 3, 5, 1, False)):
        layer = MaskedConv2d(
            c_in, c_out, kernel, 1, padding, dilation, groups, bias, dtype=dtype, kernel="sparse"
        )
        few = torch.randperm(layer.weight.numel())[: 7 * (c_in + c_out) // 2]
        layer.mask.zero_().view(-1)[few] = True
        layer.mask[0] = False  # a channel of its bias alone
        x = torch.randn(samples, c_in, *size, dtype=dtype)
        known = copy.deepcopy(layer)
        known.kernel = "dense"
        with torch.no_grad():
            g = torch.randn_like(known(x))
        agree(slopes(layer, x, g), slopes(known, x, g))
        assert in_place(layer)
        x = x.requires_grad_(True)
        products = []
        for some in (layer, known):
            out = some(x)
            (first,) = torch.autograd.grad(out, x, g, create_graph=True)
            products.append(
                torch.autograd.grad(first.square().sum(), [x, some.weight], allow_unused=True)
            )
        agree(*products)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("stride", [1, (1, 2)])
def test_many_channels_a_chunk_at_a_time(dtype, stride):
    """More planes than the nearest cache holds: sums go on from chunk to chunk."""
    torch.manual_seed(3)
    layer = MaskedConv2d(90, 95, 3, stride, 1, dtype=dtype, kernel="sparse")
    layer.set_mask(torch.rand(layer.weight.shape) < 0.1)
    layer.mask[7] = False
    layer.mask[9, :85] = False  # nothing in the first chunks
    layer.mask[11, 5:] = False  # nor in the last
    x = torch.randn(5, 90, 9, 11, dtype=dtype)
    known = copy.deepcopy(layer)
    known.kernel = "dense"
    with torch.no_grad():
        g = torch.randn_like(known(x))
    agree(slopes(layer, x, g), slopes(known, x, g))
    (layout,) = layer._taps().layouts.values()
    assert layout.core.chunks > 1


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("samples", [1, 7, 16, 33, 128, 129, 300])
def test_linear(dtype, samples):
    torch.manual_seed(samples)
    layer = MaskedLinear(37, 70, dtype=dtype, mask=torch.rand(70, 37) < 0.1, kernel="sparse")
    x, g = torch.randn(samples, 37, dtype=dtype), torch.randn(samples, 70, dtype=dtype)
    known = copy.deepcopy(layer)
    known.kernel = "dense"
    agree(slopes(layer, x, g), slopes(known, x, g))
    agree([layer(x.reshape(samples, 1, 37))], [known(x).reshape(samples, 1, 70)])
    agree([layer(x[0])], [known(x)[0]])


@pytest.mark.parametrize("make", [
    lambda: (MaskedLinear(3, 4, dtype=torch.float64, mask=torch.rand(4, 3) < 0.5), (3, 3)),
    lambda: (
        MaskedConv2d(2, 3, 3, stride=2, padding=1, dtype=torch.float64,
                     mask=torch.rand(3, 2, 3, 3) < 0.4), (2, 2, 4, 5),
    ),
])  # fmt: skip
def test_differentiable_twice(make):
    torch.manual_seed(3)
    layer, shape = make()
    layer.kernel = "sparse"
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    w = layer.weight.detach().clone().requires_grad_(True)

    def run(given, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (given,))

    bias = layer.bias.detach().clone().requires_grad_(True)
    assert torch.autograd.gradcheck(run, (x, w, bias))
    assert torch.autograd.gradgradcheck(run, (x, w, bias))


@pytest.mark.parametrize("density", [0.06, 0.3])
def test_a_sample_depends_on_no_other_and_nothing_on_threads(density):
    torch.manual_seed(5)
    mask = torch.rand(9, 5, 3, 3) < density
    layer = MaskedConv2d(5, 9, 3, padding=1, mask=mask, kernel="sparse")
    x = torch.randn(70, 5, 11, 13)
    g = torch.randn(70, 9, 11, 13)
    kept = []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            kept.append(slopes(layer, x, g))
    for other in kept[1:]:
        assert all(torch.equal(a, b) for a, b in zip(kept[0], other, strict=True))
    alone = slopes(layer, x[41:42], g[41:42])
    assert in_place(layer) == (density < 0.1)
    assert torch.equal(alone[0][0], kept[0][0][41]) and torch.equal(alone[1][0], kept[0][1][41])


@pytest.mark.skipif({"avx512", "avx2"} - set(_core.isas()) != set(), reason="needs both")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("density", [0.06, 0.3])
def test_instruction_sets_give_the_same_bits(dtype, density):
    torch.manual_seed(5)
    mask = torch.rand(9, 5, 3, 3) < density
    layer = MaskedConv2d(5, 9, 3, padding=1, mask=mask, kernel="sparse", dtype=dtype)
    x, g = torch.randn(21, 5, 10, 10, dtype=dtype), torch.randn(21, 9, 10, 10, dtype=dtype)
    before, kept = _core.isa(), []
    try:
        for name in ("avx512", "avx2"):
            _core.select_isa(name)
            kept.append(slopes(layer, x, g))
    finally:
        _core.select_isa(before)
    assert in_place(layer) == (density < 0.1)
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))


def test_masks_change_at_run_time():
    layer = MaskedConv2d(4, 4, 3, padding=1, mask=torch.rand(4, 4, 3, 3) < 0.2)
    x = torch.randn(5, 4, 8, 8)
    for change in (
        lambda: layer.set_mask(torch.rand(4, 4, 3, 3) < 0.1),
        lambda: layer.mask.zero_(),
        lambda: layer.mask[1:, 0].fill_(True),
        lambda: layer.set_mask(torch.tensor([1, 0, 0, 0])[:, None, None, None]),
    ):
        change()
        compiled = layer.compiled
        known = functional.conv2d(x, layer.weight * layer.mask, layer.bias, padding=1)
        layer.kernel = "sparse"
        agree([layer(x), layer(x)], [known, known])
        assert layer.compiled == compiled + 1
    layer(torch.randn(5, 4, 9, 8))
    assert layer.compiled == compiled + 2  # another size


def test_attributes_change_at_run_time():
    """What a layer keeps of its last call is gone with any of them."""
    layer = MaskedConv2d(4, 4, 3, mask=torch.rand(4, 4, 3, 3) < 0.2, kernel="sparse")
    x = torch.randn(5, 4, 9, 9)
    for name, value in (
        ("stride", (2, 2)), ("padding", (1, 1)), ("dilation", (2, 2)), ("padding_mode", "circular"),
        ("padding_mode", "zeros"),
    ):  # fmt: skip
        layer(x)
        setattr(layer, name, value)
        if name == "padding_mode":
            layer._reversed_padding_repeated_twice = [1, 1, 1, 1]  # as torch's constructor
        known = copy.deepcopy(layer)
        known.kernel = "dense"
        agree([layer(x)], [known(x)])
    layer.double()
    agree([layer(x.double())], [known.double()(x.double())])
    with pytest.raises(RuntimeError, match=r"dtype|type"):
        layer(x)


def test_a_mask_at_the_address_of_another_is_not_taken_for_it():
    layer = MaskedLinear(6, 4, mask=torch.eye(4, 6), kernel="sparse")
    x = torch.randn(3, 6)
    for k in range(20):
        layer(x)
        del layer.mask  # its id is free for the next
        layer.register_buffer("mask", torch.zeros(4, 6, dtype=torch.bool).index_fill_(
            1, torch.tensor([k % 6]), True))  # fmt: skip
        agree([layer(x)], [functional.linear(x, layer.weight * layer.mask, layer.bias)])


def test_copies_files_and_plain_states():
    layer = MaskedLinear(5, 6, mask=torch.rand(6, 5) < 0.3)
    x = torch.randn(4, 5)
    out = layer(x)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x), out) and torch.equal(again.mask, layer.mask)
    fresh = MaskedLinear(5, 6)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), out)
    mask = layer.mask.clone()
    layer.load_state_dict(torch.nn.Linear(5, 6).state_dict())
    assert torch.equal(layer.mask, mask)


def test_pruned_weights_stay_and_get_no_gradient():
    layer = MaskedLinear(6, 5, mask=torch.rand(5, 6) < 0.2)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.randn(3, 6)).square().sum().backward()
    assert torch.equal(layer.weight.grad != 0, (layer.weight.grad != 0) & layer.mask)
    optimizer.step()
    assert torch.equal(layer.weight[~layer.mask], before[~layer.mask])


def test_what_the_kernels_do_not_have_is_dense():
    layer = MaskedConv2d(2, 3, 3, mask=torch.rand(3, 2, 3, 3) < 0.1, kernel="sparse")
    half = copy.deepcopy(layer).to(torch.bfloat16)
    assert half.chosen(torch.ones(1, 2, 5, 5, dtype=torch.bfloat16)) == "dense"
    assert half(torch.ones(1, 2, 5, 5, dtype=torch.bfloat16)).shape == (1, 3, 3, 3)
    assert layer(torch.ones(0, 2, 5, 5)).shape == (0, 3, 3, 3)
    circular = MaskedConv2d(2, 2, 3, padding=1, padding_mode="circular", kernel="sparse")
    known = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
    known.load_state_dict(circular.state_dict(), strict=False)
    x = torch.randn(2, 2, 6, 6)
    agree([circular(x)], [known(x)])
    assert MaskedLinear(10, 10).chosen(torch.ones(2, 10)) == "dense"
    assert MaskedLinear(10, 10, mask=torch.eye(10)).chosen(torch.ones(2, 10)) == "sparse"


def test_bad_input():
    with pytest.raises(ShapeError, match=r"broadcast to the weight's shape \[3, 4\], got \[4, 3\]"):
        MaskedLinear(4, 3, mask=torch.ones(4, 3))
    with pytest.raises(ValueError, match="0 and 1 only"):
        MaskedLinear(4, 3, mask=torch.full((3, 4), 0.5))
    with pytest.raises(ValueError, match="kernel"):
        MaskedLinear(4, 3, kernel="fast")
    layer = MaskedConv2d(2, 3, 5, mask=torch.rand(3, 2, 5, 5) < 0.1, kernel="sparse")
    with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):  # torch's own words
        layer(torch.ones(1, 2, 4, 4))
    with pytest.raises(RuntimeError, match="channels"):
        layer(torch.ones(1, 3, 6, 6))
    pointers = [torch.tensor(v, dtype=torch.int32) for v in ([1, 0], [0, 0], [0, 0], [0, 0])]
    places = torch.tensor([0, 1])
    sizes = dict.fromkeys(("c_in", "c_out", "h", "w", "h_out", "w_out", "stride_h"), 2)
    sizes |= dict.fromkeys(("pad_h", "pad_w", "reach_h", "reach_w"), 0)
    sizes |= {"stride_w": 1, "flat": False}
    with pytest.raises(ValueError, match="out of order"):
        _core.Taps(sizes, 4, 2, *(p.data_ptr() for p in pointers), places.data_ptr())


def test_strides_beyond_the_image_cost_nothing():
    """One output in a row is the same at any stride: no list of as many phases as strides."""
    torch.manual_seed(6)
    for stride, size in ((10**6, (5, 7)), ((10**6, 2), (5, 7)), ((1, 10**6), (1, 1))):
        layer = MaskedConv2d(2, 3, 3, stride, 1, dtype=torch.float64, kernel="sparse")
        x = torch.randn(2, 2, *size, dtype=torch.float64)
        known = copy.deepcopy(layer)
        known.kernel = "dense"
        with torch.no_grad():
            g = torch.randn_like(known(x))
        agree(slopes(layer, x, g), slopes(known, x, g))


@pytest.mark.parametrize("kernel", [(1, 1), (2, 5)])
def test_bands_of_images_with_more_padding_than_a_kernel_reaches(kernel):
    """So many channels that images come in bands, some of whose outputs are their bias alone."""
    torch.manual_seed(7)
    layer = MaskedConv2d(1600, 4, kernel, padding=(2, 3), dtype=torch.float64, kernel="sparse")
    layer.set_mask(torch.rand(layer.weight.shape) < 0.01)
    x = torch.randn(2, 1600, 4, 25, dtype=torch.float64)
    known = copy.deepcopy(layer)
    known.kernel = "dense"
    with torch.no_grad():
        g = torch.randn_like(known(x))
    agree(slopes(layer, x, g), slopes(known, x, g))
