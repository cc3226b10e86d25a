"""Rows: several packs of one shape as one pack, a row for each gate of a hidden unit or two.

Held as one value, the sums of eight gates stay in registers through a loop that names no
register.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from fastlstm.engine.pack import (
    INT64,
    Pack,
    array_data,
    broadcast,
    fused,
    intrinsic,
    is_flat,
    repack,
    unpack,
    vector_type,
)


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
def fma_rows(typingctx: Any, array: Any, at: Any, v: Any, sums: Any) -> Any:
    """Return the rows `sums[r] + array[at + r] * v`, each rounded once: a rank-one update."""
    if not is_flat(array, v):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        of_v, of_sums = unpack(builder, v, args[2]), unpack(builder, sums, args[3])
        vectors = []
        for r in range(sums.count // v.count):
            scalar = builder.load(builder.gep(data, [builder.add(args[1], INT64(r))]))
            weight = broadcast(builder, vector_type(v), scalar)
            for j in range(v.count):
                vectors.append(fused(builder, weight, of_v[j], of_sums[r * v.count + j]))
        return repack(builder, sums, vectors)

    return sums(array, types.int64, v, sums), codegen


@intrinsic(prefer_literal=True)
def take_row(typingctx: Any, rows: Any, index: Any, like: Any) -> Any:
    """Return row `index` as a pack of the shape of `like`."""
    first = index.literal_value * like.count

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, rows, args[0])[first : first + like.count]
        return repack(builder, like, vectors)

    return like(rows, index, like), codegen


@intrinsic(prefer_literal=True)
def unit_gates(typingctx: Any, rows: Any, unit: Any, like: Any) -> Any:
    """Return the rows i, f, g and o of a unit as a tuple of packs of the shape of `like`."""
    first = 4 * unit.literal_value * like.count
    gates = types.UniTuple(like, 4)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, rows, args[0])[first : first + 4 * like.count]
        packs = [
            repack(builder, like, vectors[r * like.count : (r + 1) * like.count]) for r in range(4)
        ]
        return context.make_tuple(builder, gates, packs)

    return gates(rows, unit, like), codegen


@intrinsic
def join(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return three packs as rows."""
    pack = Pack(a.dtype, a.lanes, 3 * a.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [vector for value in args for vector in unpack(builder, a, value)]
        return repack(builder, pack, vectors)

    return pack(a, a, a), codegen
