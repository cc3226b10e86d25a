"""Rows: several packs of one shape as one pack, a row for each gate of a hidden unit or two.

Held as one value, the sums of eight gates stay in registers through a loop that names no
register.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from fastlstm.engine.simd.pack import (
    INT32,
    INT64,
    Pack,
    array_data,
    broadcast,
    fused,
    intrinsic,
    is_flat,
    repack,
    scalar_bytes,
    unpack,
    vector_pointer,
    vector_type,
)


def row_offset(builder: Any, at: Any, stride: Any, r: int) -> Any:
    """Return `at + r * stride`."""
    return builder.add(at, builder.mul(stride, INT64(r)))


@intrinsic(prefer_literal=True)
def splat_rows(typingctx: Any, array: Any, at: Any, units: Any, like: Any) -> Any:
    """Return four rows a unit, row r filled with `array[at + r]`."""
    if not is_flat(array, like):
        return None
    rows = 4 * units.literal_value
    pack = Pack(like.dtype, like.lanes, rows * like.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(rows):
            scalar = builder.load(builder.gep(data, [builder.add(args[1], INT64(r))]))
            vectors += [broadcast(builder, vector_type(like), scalar)] * like.count
        return repack(builder, pack, vectors)

    return pack(array, types.int64, units, like), codegen


@intrinsic
def fma_rows(typingctx: Any, array: Any, at: Any, stride: Any, v: Any, sums: Any) -> Any:
    """Return the rows `sums[r] + array[at + r * stride] * v`, rounded once: a rank-one update."""
    if not is_flat(array, v):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        of_v, of_sums = unpack(builder, v, args[3]), unpack(builder, sums, args[4])
        vectors = []
        for r in range(sums.count // v.count):
            scalar = builder.load(builder.gep(data, [row_offset(builder, args[1], args[2], r)]))
            weight = broadcast(builder, vector_type(v), scalar)
            for j in range(v.count):
                vectors.append(fused(builder, weight, of_v[j], of_sums[r * v.count + j]))
        return repack(builder, sums, vectors)

    return sums(array, types.int64, types.int64, v, sums), codegen


@intrinsic(prefer_literal=True)
def take_row(typingctx: Any, rows: Any, index: Any, like: Any) -> Any:
    """Return row `index` as a pack of the shape of `like`."""
    first = index.literal_value * like.count

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, rows, args[0])[first : first + like.count]
        return repack(builder, like, vectors)

    return like(rows, index, like), codegen


@intrinsic(prefer_literal=True)
def gate_packs(typingctx: Any, rows: Any, part: Any, row: Any, like: Any) -> Any:
    """Return the gates i, f, g and o of rows in which they take turns, one pack each.

    A row has the shape of `row`, and a gate's rows together that of `like`: if that is not all,
    they are those of one `part` of the rows.
    """
    gates = types.UniTuple(like, 4)
    size, first, last = row.count, *(4 * like.count * (part.literal_value + k) for k in (0, 1))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, rows, args[0])[first:last]
        packs = []
        for gate in range(4):
            of_gate = range(gate * size, len(vectors), 4 * size)
            parts = [vector for at in of_gate for vector in vectors[at : at + size]]
            packs.append(repack(builder, like, parts))
        return context.make_tuple(builder, gates, packs)

    return gates(rows, part, row, like), codegen


@intrinsic
def repeat_rows(typingctx: Any, row: Any, rows: Any) -> Any:
    """Return rows of the shape of `rows`, each a copy of `row`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return repack(builder, rows, unpack(builder, row, args[0]) * (rows.count // row.count))

    return rows(row, rows), codegen


@intrinsic
def load_strided_rows(typingctx: Any, array: Any, at: Any, stride: Any, row: Any, rows: Any) -> Any:
    """Return the rows that begin at `array[at + r * stride]`, each of the shape of `row`."""
    if not is_flat(array, row):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(rows.count // row.count):
            at = row_offset(builder, args[1], args[2], r)
            pointer = vector_pointer(builder, data, at, row)
            for j in range(row.count):
                vector = builder.gep(pointer, [INT32(j)])
                vectors.append(builder.load(vector, align=scalar_bytes(row)))
        return repack(builder, rows, vectors)

    return rows(array, types.int64, types.int64, row, rows), codegen


@intrinsic
def store_strided_rows(
    typingctx: Any, array: Any, at: Any, stride: Any, rows: Any, row: Any
) -> Any:
    """Write rows, each of the shape of `row`, to `array[at + r * stride]` and on."""
    if not is_flat(array, row):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        for q, vector in enumerate(unpack(builder, rows, args[3])):
            r, j = divmod(q, row.count)
            at = row_offset(builder, args[1], args[2], r)
            pointer = vector_pointer(builder, data, at, row)
            builder.store(vector, builder.gep(pointer, [INT32(j)]), align=scalar_bytes(row))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, rows, row), codegen


@intrinsic
def splat_parts(typingctx: Any, array: Any, at: Any, stride: Any, row: Any, like: Any) -> Any:
    """Return rows of the shape of `row`, together that of `like`, filled with
    `array[at + r * stride]`.
    """
    if not is_flat(array, row):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(like.count // row.count):
            scalar = builder.load(builder.gep(data, [row_offset(builder, args[1], args[2], r)]))
            vectors += [broadcast(builder, vector_type(row), scalar)] * row.count
        return repack(builder, like, vectors)

    return like(array, types.int64, types.int64, row, like), codegen


@intrinsic
def join_two(typingctx: Any, a: Any, b: Any) -> Any:
    """Return two packs as rows."""
    pack = Pack(a.dtype, a.lanes, 2 * a.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [vector for value in args for vector in unpack(builder, a, value)]
        return repack(builder, pack, vectors)

    return pack(a, a), codegen


@intrinsic
def join(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return three packs as rows."""
    pack = Pack(a.dtype, a.lanes, 3 * a.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [vector for value in args for vector in unpack(builder, a, value)]
        return repack(builder, pack, vectors)

    return pack(a, a, a), codegen
