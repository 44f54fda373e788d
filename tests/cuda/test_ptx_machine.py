"""The PTX machine notices the mistakes it is there to notice: small kernels with one each."""

from __future__ import annotations

import pytest
import torch
from ptx_assemble import Unknown, assemble
from ptx_rules import PIPES, charge, launch_cycles

HEAD = """.version 9.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 memory[];
.visible .entry {name}(.param .u64 {name}_param_0)
.maxntid 64, 1, 1
{{
  .reg .pred %p<9>;
  .reg .b32 %r<20>;
  .reg .f32 %f<20>;
  .reg .f64 %fd<20>;
  .reg .b64 %rd<20>;
  ld.param.u64 %rd1, [{name}_param_0];
  mov.u32 %r1, %tid.x;
  shl.b32 %r2, %r1, 2;
  cvt.u64.u32 %rd2, %r2;
  add.s64 %rd3, %rd1, %rd2;
  mov.u32 %r3, memory;
  add.s32 %r4, %r3, %r2;
  setp.lt.u32 %p1, %r1, 16;
{body}
  ret;
}}
"""
STORE = "st.global.u32 [%rd3], %r5;"


@pytest.fixture
def go(ptx, tmp_path):
    """Runs a body: 64 threads on 256 bytes of global memory; returns it as int32."""

    def call(body, *, threads=64, grid=1, shared=256, name="kernel", cluster=1):
        path = tmp_path / "a.program"
        path.write_text(assemble(HEAD.format(name=name, body=body)))
        ptx.load(str(path))
        out = torch.zeros(64, dtype=torch.int32)
        ptx.launch(name, grid, threads, shared, [out.data_ptr()], cluster)
        return out

    return call


def test_a_kernel(go):
    """Shared memory through a barrier, in another order."""
    found = go(
        """st.shared.u32 [%r4], %r1;
        bar.sync 0;
        xor.b32 %r6, %r2, 252;
        add.s32 %r6, %r6, %r3;
        ld.shared.u32 %r5, [%r6];
        """
        + STORE
    )
    assert found.tolist() == list(range(63, -1, -1))


FAULTS = {
    "misaligned shared": (
        "st.shared.v2.u32 [%r4], {%r1, %r1};",
        "misaligned store to shared memory: offset 4, 8 bytes",
    ),
    "misaligned global": ("ld.global.u32 %r5, [%rd3+2];", "misaligned load from global"),
    "shared beyond": ("st.shared.u32 [%r4+4], %r1;", "shared memory out of bounds: offset 256"),
    "shared before": ("st.shared.u32 [%r4+-4], %r1;", "out of bounds: offset -4"),
    "global beyond": ("st.global.u32 [%rd3+256], %r1;", "store to global memory out of bounds"),
    "global null": ("mov.u64 %rd4, 8; ld.global.u32 %r5, [%rd4];", "global memory out of bounds"),
    "unwritten": ("ld.shared.u32 %r5, [%r4];", "shared memory that nobody has written"),
    "race of writes": ("st.shared.u32 [%r3], %r1;", "race in shared memory: store"),
    "race of a read": (
        "st.shared.u32 [%r4], %r1; ld.shared.u32 %r5, [%r3];",
        "race in shared memory: load from offset 0, written by thread 0",
    ),
    "race with a reader": (
        "st.shared.u32 [%r4], %r1; bar.sync 0; ld.shared.u32 %r5, [%r3];st.shared.u32 [%r4], %r1;",
        "race in shared memory: store to offset 0, written by thread -, read by -2",
    ),
    "race in global memory": ("st.global.u32 [%rd1], %r1;", "race in global memory: store"),
    "half a barrier": ("@%p1 bra $A; bar.sync 0; $A:", "divergence"),
    "barriers apart": ("@%p1 bra $A; bar.sync 0; bra $B; $A: bar.sync 0; $B:", "divergence"),
    "warps at other barriers": (
        "setp.lt.u32 %p2, %r1, 32; @%p2 bra $A; bar.sync 0; bra $B; $A: bar.sync 0; $B:",
        "warps of block 0 at barriers in different places",
    ),
    "a shuffle of some": (
        "@%p1 bra $A; shfl.sync.bfly.b32 %r5|%p3, %r1, 1, 31, -1; $A:",
        "wait for one another at different instructions|will not reach",
    ),
    "a product of some": (
        "@!%p1 bra $A; mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3}, "
        "{%fd4}, {%fd1, %fd2}; $A:",
        "wait for one another at different instructions|will not reach",
    ),
    "a copy nobody waits for": (
        "shl.b32 %r7, %r1, 4; setp.ge.u32 %p2, %r1, 16; @%p2 bra $A;"
        "add.s32 %r7, %r7, %r3; mul.wide.u32 %rd5, %r1, 16; add.s64 %rd5, %rd5, %rd1;"
        "cp.async.cg.shared.global [%r7], [%rd5], 16, 16; $A: bar.sync 0;"
        "ld.shared.u32 %r5, [%r4];",
        "shared memory that nobody has written",
    ),
    "a copy that is not aligned": (
        "cp.async.cg.shared.global [%r4], [%rd3], 16, 16;",
        "misaligned",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_seeded_fault(go, fault):
    body, message = FAULTS[fault]
    with pytest.raises(RuntimeError, match=f"kernel: .*({message}).*"):
        go(body)


def test_blocks_are_not_ordered(go):
    """One writes what another reads."""
    with pytest.raises(RuntimeError, match=r"race in global memory: store.*written by block 0"):
        go(STORE, grid=2)
    with pytest.raises(RuntimeError, match="race in global memory"):
        go(
            "ld.global.u32 %r5, [%rd3]; mov.u32 %r6, %ctaid.x; setp.eq.u32 %p2, %r6, 0;"
            "@%p2 bra $A; st.global.u32 [%rd3], %r5; $A:",
            grid=2,
        )


def test_the_same_after_what_was_missing(go):
    """The faults above with their barrier, wait or alignment."""
    go("st.shared.u32 [%r4], %r1; bar.sync 0; ld.shared.u32 %r5, [%r3];")
    go(
        "shl.b32 %r7, %r1, 4; setp.ge.u32 %p2, %r1, 16; @%p2 bra $A;"
        "add.s32 %r7, %r7, %r3; mul.wide.u32 %rd5, %r1, 16; add.s64 %rd5, %rd5, %rd1;"
        "cp.async.cg.shared.global [%r7], [%rd5], 16, 16; $A: cp.async.wait_all; bar.sync 0;"
        "ld.shared.u32 %r5, [%r4];"
    )
    go("@%p1 bra $A; add.s32 %r5, %r1, 1; $A: shfl.sync.bfly.b32 %r5|%p3, %r1, 1, 31, -1;")


def test_a_barrier_left_out(go, ptx):
    """What tests of kernels do, one barrier after another."""
    body = "st.shared.u32 [%r4], %r1; bar.sync 0; ld.shared.u32 %r5, [%r3];"
    line = next(
        i
        for i, text in enumerate(HEAD.format(name="kernel", body=body).splitlines(), 1)
        if "bar.sync" in text
    )
    ptx.set_checks(True, line)
    with pytest.raises(RuntimeError, match="race"):
        go(body)


FRAGMENTS = {"m8n8k4": (8, 4), "m16n8k4": (16, 4), "m16n8k8": (16, 8), "m16n8k16": (16, 16)}


def fragments(rows, depth):
    """[lane, register] of A, B and C: where the PTX ISA puts their numbers (Matrix Fragments for
    mma.m8n8k4, .m16n8k4, .m16n8k8 and .m16n8k16, .f64), as (row, column).
    """
    lane = torch.arange(32)[:, None]
    group, thread, halves = lane // 4, lane % 4, rows // 8
    i, j, k = (torch.arange(n) for n in (halves * depth // 4, depth // 4, 2 * halves))
    return (
        (group + 8 * (i % halves), thread + 4 * (i // halves)),
        (thread + 4 * j, group + 0 * j),
        (group + 8 * (k // 2), 2 * thread + k % 2),
    )


@pytest.mark.parametrize("shape", FRAGMENTS)
def test_products_of_the_tensor_cores(ptx, tmp_path, shape):
    """Every number of A, B and C its own; whole, so that sums are exact in any order."""
    rows, depth = FRAGMENTS[shape]
    draw = torch.manual_seed(rows + depth)
    sizes = [(rows, depth), (depth, 8), (rows, 8)]
    whole = torch.randperm(4096, generator=draw).double() - 2048
    parts = whole.split([r * c for r, c in sizes] + [4096 - sum(r * c for r, c in sizes)])
    a, b, c = (part.view(size) for part, size in zip(parts, sizes, strict=False))
    places = fragments(rows, depth)
    for (row, column), (height, width) in zip(places, sizes, strict=True):
        assert sorted((row * width + column).flatten().tolist()) == list(range(height * width))
    held = torch.cat([x[at] for x, at in zip((a, b, c), places, strict=True)], 1).contiguous()
    na, nb, nc = (at[0].shape[1] for at in places)
    n = na + nb + nc
    names = [f"%fd{q}" for q in range(1, n + 1)]
    body = "\n".join(
        [f"mul.wide.s32 %rd4, %r1, {8 * n}; add.s64 %rd5, %rd1, %rd4;"]
        + [f"ld.global.f64 {name}, [%rd5+{8 * q}];" for q, name in enumerate(names)]
        + [
            f"mma.sync.aligned.{shape}.row.col.f64.f64.f64.f64 {{{', '.join(names[na + nb :])}}}, "
            f"{{{', '.join(names[:na])}}}, {{{', '.join(names[na : na + nb])}}}, "
            f"{{{', '.join(names[na + nb :])}}};"
        ]
        + [f"st.global.f64 [%rd5+{8 * q}], {names[q]};" for q in range(na + nb, n)]
    )
    path = tmp_path / "a.program"
    path.write_text(assemble(HEAD.format(name="kernel", body=body)))
    ptx.load(str(path))
    ptx.tensor_products()
    ptx.launch("kernel", 1, 32, 0, [held.data_ptr()])
    assert ptx.tensor_products() == (rows * depth // 32, 1)
    found = torch.empty(rows, 8, dtype=torch.float64)
    found[places[2]] = held[:, na + nb :]
    assert torch.equal(found, a @ b + c)


# Clusters. Each block writes 64 numbers and reads the other's, twice over.

CLUSTER = (
    """mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; mov.u32 %r12, 0;
mapa.shared::cluster.u32 %r13, %r4, %r11;
$TURN:
setp.eq.u32 %p4, %r12, 0; @%p4 bra $FIRST;
BEFORE_WRITING
$FIRST:
mad.lo.s32 %r14, %r10, 1000, %r1; add.s32 %r14, %r14, %r12; st.shared.u32 [%r4], %r14;
BEFORE_READING
ld.shared::cluster.u32 %r5, [%r13];
ARRIVE
add.s32 %r12, %r12, 1; setp.lt.u32 %p5, %r12, 2; @%p5 bra $TURN;
BEFORE_WRITING
mov.u32 %r15, %ctaid.x; setp.ne.u32 %p6, %r15, 0; @%p6 bra $END;
"""
    + STORE
    + "$END:"
)
ARRIVE, WAIT = "barrier.cluster.arrive.release.aligned;", "barrier.cluster.wait.acquire.aligned;"


def in_cluster(before_reading=ARRIVE + WAIT, arrive=ARRIVE, before_writing=WAIT):
    parts = {"BEFORE_WRITING": before_writing, "BEFORE_READING": before_reading}
    body = CLUSTER.replace("\nARRIVE\n", f"\n{arrive}\n")
    for name, text in parts.items():
        body = body.replace(name, text)
    return body


def test_a_cluster(go):
    """Of the other block's numbers; the next cluster's blocks are its own."""
    found = go(in_cluster(), grid=4, cluster=2)
    assert found.tolist() == [1001 + t for t in range(64)]


CLUSTER_FAULTS = {
    "nothing before reading": (
        in_cluster(before_reading=""),
        "nobody has written|race in shared memory: load from offset 0 of another block",
    ),
    "a block's barrier for the cluster's": (
        in_cluster(before_reading="bar.sync 0;"),
        "nobody has written|race in shared memory: load from offset 0 of another block",
    ),
    "nothing before writing": (
        in_cluster(arrive="", before_writing=""),
        "of another block of the cluster, written there|which another block of the cluster reads",
    ),
    "arriving twice": (ARRIVE + ARRIVE + WAIT, "arrives twice"),
    "waiting for nothing": (WAIT, "where it has not arrived"),
    "a block that does not come": (
        "mov.u32 %r15, %ctaid.x; setp.ne.u32 %p6, %r15, 0; @%p6 bra $END;"
        + ARRIVE
        + WAIT
        + "$END:",
        "divergence: blocks from 0 on wait at the cluster's barrier",
    ),
    "some lanes": (f"@%p1 bra $A; {ARRIVE} {WAIT} $A:", "different instructions|will not reach"),
    "leaving before it is read": (
        "mov.u32 %r10, %cluster_ctarank; mov.u32 %r11, 0;"
        "mapa.shared::cluster.u32 %r13, %r4, %r11;"
        f"st.shared.u32 [%r4], %r1; {ARRIVE} {WAIT} setp.eq.u32 %p4, %r10, 0; @%p4 bra $END;"
        "ld.shared::cluster.u32 %r5, [%r13]; $END:",
        "of a block that has left",
    ),
    "a rank beyond": (
        in_cluster().replace("xor.b32 %r11, %r10, 1", "add.s32 %r11, %r10, 2"),
        "another access than a load in the cluster",
    ),
    "beyond the other's memory": (
        in_cluster().replace("[%r13]", "[%r13+4]"),
        "load from shared memory out of bounds: offset 256",
    ),
    "a global store of both": (in_cluster().replace("@%p6 bra $END;", ""), "race in global memory"),
}


@pytest.mark.parametrize("fault", CLUSTER_FAULTS)
def test_seeded_fault_of_a_cluster(go, fault):
    body, message = CLUSTER_FAULTS[fault]
    with pytest.raises(RuntimeError, match=f"kernel: .*({message}).*"):
        go(body, grid=2, cluster=2)


def test_global_memory_of_a_cluster(go):
    """Ordered by its barriers; between clusters by nothing."""
    body = (
        "ld.global.u32 %r5, [%rd3]; mov.u32 %r15, %ctaid.x; setp.ne.u32 %p6, %r15, 1;"
        f"{ARRIVE} {WAIT} @%p6 bra $END; {STORE} $END:"
    )
    go(body, grid=2, cluster=2)
    with pytest.raises(RuntimeError, match="race in global memory"):
        go(body.replace(WAIT, "").replace(ARRIVE, ""), grid=2, cluster=2)
    with pytest.raises(RuntimeError, match="race in global memory"):
        go(body, grid=4, cluster=2)


def test_clusters_divide_the_grid(go):
    with pytest.raises(RuntimeError, match="launch of 3 blocks in clusters of 2"):
        go(STORE, grid=3, cluster=2)


@pytest.mark.parametrize("threads", [0, 48, 96])
def test_launch_bounds(go, threads):
    with pytest.raises(RuntimeError, match=rf"launch of {threads} threads where 64 are allowed"):
        go(STORE, threads=threads)


@pytest.mark.parametrize(
    "body",
    [
        "ex2.approx.f32 %f1, %f2;",
        "shfl.sync.up.b32 %r1, %r2, 1, 0, -1;",
        "mma.sync.aligned.m8n8k8.row.col.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3, %fd4}, {%fd5, %fd6}, "
        "{%fd1, %fd2};",
        "mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%fd1, %fd2}, {%fd3}, {%fd4}, "
        "{%fd1, %fd2};",
    ],
)
def test_unknown_instructions_are_refused(go, body):
    """At the latest when the program is read."""
    with pytest.raises((Unknown, RuntimeError), match=r"shfl|mma|no meaning is known for ex2"):
        go(body)


# Counts.


def counted(ptx, go, body, **more):
    """(tally, pipes of block 0 by name, all schedulers together) of one launch."""
    ptx.take()
    ptx.set_counts(True)
    go(body, **more)
    tallies, ((_, _, _, _, blocks),) = ptx.take()
    rows = torch.tensor(blocks[0]).view(4, len(PIPES)).sum(0) / 64
    return tallies["kernel"], dict(zip(PIPES, rows.tolist(), strict=True))


@pytest.mark.parametrize(
    ("stride", "kind", "wavefronts"),
    [
        (4, "u32", 1),  # neighbours
        (8, "u32", 2),  # every other bank
        (128, "u32", 32),  # one bank
        (0, "u32", 1),  # one word for all
        (16, "v4.u32", 4),
        (8, "v2.u32", 2),
        (32, "v4.u32", 8),
        (0, "v4.u32", 4),  # what comes back is 512 bytes all the same
    ],
)
def test_wavefronts(ptx, go, stride, kind, wavefronts):
    """Of one warp's load from shared memory."""
    ptx.set_checks(False, 0)  # nothing was written
    names = {"u32": "%r5", "v2.u32": "{%r5, %r6}", "v4.u32": "{%r5, %r6, %r7, %r8}"}[kind]
    body = f"mul.lo.s32 %r9, %r1, {stride}; add.s32 %r9, %r9, %r3; ld.shared.{kind} {names}, [%r9];"
    tally, pipes = counted(ptx, go, body, threads=32, shared=4096)
    assert tally["shared_requests"] == 1
    assert tally["shared_wavefronts"] == pipes["memory"] == wavefronts


def test_sectors(ptx, go):
    tally, _ = counted(ptx, go, STORE, threads=64)
    assert (tally["global_requests"], tally["global_sectors"]) == (2, 8)
    tally, _ = counted(ptx, go, "@!%p1 ld.global.u32 %r5, [%rd1];", threads=32)
    assert tally["global_sectors"] == 1


def test_instructions_by_pipe(ptx, go):
    body = "\n".join(
        ["fma.rn.f32 %f1, %f2, %f3, %f4;"] * 8
        + ["fma.rn.f64 %fd1, %fd2, %fd3, %fd4;"] * 4
        + ["rcp.rn.f32 %f1, %f2;"] * 2
        + ["bar.sync 0;"] * 3
    )
    tally, pipes = counted(ptx, go, body)
    assert (tally["barriers"], tally["warps"]) == (3, 2)
    assert pipes["fma"] == 2 * (8 + 2 * 4)
    assert pipes["fp64"] == 2 * 4 * 2
    assert pipes["special"] == 2 * 2 * 8


def test_the_busiest_scheduler_and_multiprocessor():
    """Four warps of one instruction on four schedulers take as long as one; blocks go where there
    is least to do; a wavefront is the whole multiprocessor's.
    """
    fma, memory = PIPES.index("fma"), PIPES.index("memory")

    def block(schedulers, pipe, cycles):
        rows = [[0] * len(PIPES) for _ in range(4)]
        for s in schedulers:
            rows[s][pipe] = 64 * cycles
        return [x for row in rows for x in row]

    assert launch_cycles([block(range(4), fma, 10)], 2) == (10.0, "fma")
    assert launch_cycles([block([0], fma, 10)], 2) == (10.0, "fma")
    assert launch_cycles([block(range(4), memory, 10)], 2) == (40.0, "memory")
    assert launch_cycles([block(range(4), fma, n) for n in (10, 4, 4)], 2) == (10.0, "fma")
    assert charge("fma.f32", "compute")[fma] == 64
    issue, tensor = PIPES.index("issue"), PIPES.index("tensor")
    for shape, eights in {"m8n8k4": 1, "m16n8k4": 2, "m16n8k8": 4, "m16n8k16": 8}.items():
        cost = charge(f"mma.{shape}.f64", "product")
        assert (cost[issue], cost[tensor]) == (64, 64 * 8 * eights)
