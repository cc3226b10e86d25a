"""Transposes in registers, between rows in memory and lanes.

A sequence is a row of consecutive numbers (time steps times inputs). The kernels want element
`e` of all sequences of a tile side by side, (elements, lanes of the tile). Squares of
`lanes x lanes` numbers are read as rows, transposed by shuffles and written as columns, and the
other way round. For four lanes:

    rows     a0 a1 a2 a3 a4 ...            lanes    a0 b0 c0 d0
             b0 b1 b2 b3 b4 ...                     a1 b1 c1 d1
             c0 c1 c2 c3 c4 ...                     a2 b2 c2 d2
             d0 d1 d2 d3 d4 ...                     a3 b3 c3 d3 ...

The last elements of a row are read and written with masks, so that nothing outside a row is ever
touched.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from fastlstm.engine.jit import function
from fastlstm.engine.simd.arithmetic import lane_count, vector_lanes
from fastlstm.engine.simd.pack import (
    INT32,
    INT64,
    Pack,
    array_data,
    call_masked,
    first_lanes,
    intrinsic,
    is_flat,
    repack,
    scalar_bytes,
    unpack,
    vector_pointer,
    vector_type,
)


def _square_of(like: Pack) -> Pack:
    return Pack(like.dtype, like.lanes, like.lanes)


@intrinsic
def load_rows(
    typingctx: Any, array: Any, starts: Any, lane: Any, at: Any, count: Any, like: Any
) -> Any:
    """Return a square whose vector r is `array[starts[lane + r] + at :][:count]`, then zeros."""
    if not is_flat(array, like):
        return None
    square = _square_of(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        offsets = array_data(context, builder, starts, args[1])
        vector = vector_type(like)
        mask = first_lanes(builder, like, args[4])
        align, nothing = INT32(scalar_bytes(like)), ir.Constant(vector, None)
        vectors = []
        for r in range(like.lanes):
            start = builder.load(builder.gep(offsets, [builder.add(args[2], INT64(r))]))
            pointer = vector_pointer(builder, data, builder.add(start, args[3]), like)
            masked = [pointer, align, mask, nothing]
            vectors.append(call_masked(builder, like, "load", masked, vector))
        return repack(builder, square, vectors)

    int64 = types.int64
    return square(array, starts, int64, int64, int64, like), codegen


@intrinsic
def load_whole_rows(typingctx: Any, array: Any, starts: Any, lane: Any, at: Any, like: Any) -> Any:
    """Return a square whose vector r is `array[starts[lane + r] + at :][:lanes]`."""
    if not is_flat(array, like):
        return None
    square = _square_of(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        offsets = array_data(context, builder, starts, args[1])
        vectors = []
        for r in range(like.lanes):
            start = builder.load(builder.gep(offsets, [builder.add(args[2], INT64(r))]))
            pointer = vector_pointer(builder, data, builder.add(start, args[3]), like)
            vectors.append(builder.load(pointer, align=scalar_bytes(like)))
        return repack(builder, square, vectors)

    return square(array, starts, types.int64, types.int64, like), codegen


@intrinsic
def store_rows(
    typingctx: Any, array: Any, starts: Any, lane: Any, at: Any, count: Any, square: Any
) -> Any:
    """Write vector r of a square to `array[starts[lane + r] + at :][:count]`.

    A row whose start is negative is left out.
    """
    if not is_flat(array, square):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        offsets = array_data(context, builder, starts, args[1])
        mask = first_lanes(builder, square, args[4])
        whole = builder.icmp_signed(">=", args[4], INT64(square.lanes))
        align = scalar_bytes(square)
        for r, vector in enumerate(unpack(builder, square, args[5])):
            start = builder.load(builder.gep(offsets, [builder.add(args[2], INT64(r))]))
            with builder.if_then(builder.icmp_signed(">=", start, INT64(0)), likely=True):
                pointer = vector_pointer(builder, data, builder.add(start, args[3]), square)
                with builder.if_else(whole) as (then, otherwise):
                    with then:
                        builder.store(vector, pointer, align=align)
                    with otherwise:
                        masked = [vector, pointer, INT32(align), mask]
                        call_masked(builder, square, "store", masked, ir.VoidType())
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(array, starts, int64, int64, int64, square), codegen


@intrinsic
def store_row_packs(
    typingctx: Any, array: Any, starts: Any, first: Any, at: Any, count: Any, packs: Any, part: Any
) -> Any:
    """Write pack r of several, each of the shape of `part`, to one row, at most `count` numbers.

    The row is `array[starts[first + r] + at :]`.
    """
    if not is_flat(array, part):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        offsets = array_data(context, builder, starts, args[1])
        lefts = [builder.sub(args[4], INT64(j * part.lanes)) for j in range(part.count)]
        masks = [first_lanes(builder, part, left) for left in lefts]
        whole = builder.icmp_signed(">=", args[4], INT64(part.lanes * part.count))
        vectors, align = unpack(builder, packs, args[5]), scalar_bytes(part)
        pointers = []
        for q in range(packs.count):
            r, j = divmod(q, part.count)
            start = builder.load(builder.gep(offsets, [builder.add(args[2], INT64(r))]))
            to = builder.add(builder.add(start, args[3]), INT64(j * part.lanes))
            pointers.append(vector_pointer(builder, data, to, part))
        with builder.if_else(whole, likely=True) as (then, otherwise):
            with then:
                for vector, pointer in zip(vectors, pointers, strict=True):
                    builder.store(vector, pointer, align=align)
            with otherwise:
                for q, (vector, pointer) in enumerate(zip(vectors, pointers, strict=True)):
                    masked = [vector, pointer, INT32(align), masks[q % part.count]]
                    call_masked(builder, part, "store", masked, ir.VoidType())
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(array, starts, int64, int64, int64, packs, part), codegen


@intrinsic
def load_columns(typingctx: Any, array: Any, at: Any, stride: Any, like: Any) -> Any:
    """Return a square whose vector r is `array[at + r * stride :][:lanes]`."""
    if not is_flat(array, like):
        return None
    square = _square_of(like)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(like.lanes):
            offset = builder.add(args[1], builder.mul(args[2], INT64(r)))
            pointer = vector_pointer(builder, data, offset, like)
            vectors.append(builder.load(pointer, align=scalar_bytes(like)))
        return repack(builder, square, vectors)

    return square(array, types.int64, types.int64, like), codegen


@intrinsic
def store_columns(typingctx: Any, array: Any, at: Any, stride: Any, square: Any) -> Any:
    """Write vector r of a square to `array[at + r * stride :][:lanes]`."""
    if not is_flat(array, square):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        for r, vector in enumerate(unpack(builder, square, args[3])):
            offset = builder.add(args[1], builder.mul(args[2], INT64(r)))
            pointer = vector_pointer(builder, data, offset, square)
            builder.store(vector, pointer, align=scalar_bytes(square))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, square), codegen


@intrinsic
def transposed(typingctx: Any, square: Any) -> Any:
    """Return the transpose of a square: log2(lanes) rounds that swap ever smaller halves."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = square.lanes
        rows = unpack(builder, square, args[0])
        half = lanes // 2
        while half:
            upper = [j if not j & half else lanes + j - half for j in range(lanes)]
            lower = [j + half if not j & half else lanes + j for j in range(lanes)]
            masks = [ir.Constant(ir.VectorType(INT32, lanes), mask) for mask in (upper, lower)]
            for i in range(lanes):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i] = builder.shuffle_vector(*pair, masks[0])
                    rows[i + half] = builder.shuffle_vector(*pair, masks[1])
            half //= 2
        return repack(builder, square, rows)

    return square(square), codegen


@function
def rows_to_lanes(
    rows: Any, starts: Any, at: int, count: int, memory: Any, to: int, like: Any
) -> None:
    """Read elements `at ... at + count - 1` of every lane's row, and write them side by side.

    `starts` (lanes of the tile,) holds where each lane's row begins in `rows`. At `to` there is
    room for `count` elements rounded up to a multiple of the vector's lanes.
    """
    width, lanes = vector_lanes(like), lane_count(like)
    for lane in range(0, lanes, width):
        for e in range(0, count, width):
            if count - e >= width:
                square = load_whole_rows(rows, starts, lane, at + e, like)
            else:
                square = load_rows(rows, starts, lane, at + e, count - e, like)
            store_columns(memory, to + e * lanes + lane, lanes, transposed(square))


@function
def lanes_to_rows(
    memory: Any, first: int, count: int, rows: Any, starts: Any, at: int, like: Any
) -> None:
    """Write `count` elements, which lie side by side from `first` on, to every lane's row.

    In the row they become elements `at ... at + count - 1`. Lanes whose start is negative are left
    out. Elements must be readable up to `count` rounded up to a multiple of the vector's lanes.
    """
    width, lanes = vector_lanes(like), lane_count(like)
    if count == 1:  # the usual score: a square of one column is not worth its shuffles
        for lane in range(lanes):
            if starts[lane] >= 0:
                rows[starts[lane] + at] = memory[first + lane]
        return
    for lane in range(0, lanes, width):
        for e in range(0, count, width):
            square = load_columns(memory, first + e * lanes + lane, lanes, like)
            store_rows(rows, starts, lane, at + e, count - e, transposed(square))
