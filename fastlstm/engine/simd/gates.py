"""Several packs of one shape as one pack: the *gates*, i f g o of a hidden unit or two in turn.

Held as one value, the sums of eight gates stay in registers through a loop that names no
register. Eight gates of two units, each of a shape `gate` of three vectors (24 in all):

    i0 i0 i0  f0 f0 f0  g0 g0 g0  o0 o0 o0  i1 i1 i1  f1 f1 f1  g1 g1 g1  o1 o1 o1
    |-------------- part 0 --------------|  |-------------- part 1 --------------|
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


def offset(builder: Any, at: Any, stride: Any, r: int) -> Any:
    """Return `at + r * stride`."""
    return builder.add(at, builder.mul(stride, INT64(r)))


@intrinsic(prefer_literal=True)
def splat_gates(typingctx: Any, array: Any, at: Any, units: Any, like: Any) -> Any:
    """Return four gates a unit, gate r filled with `array[at + r]`."""
    if not is_flat(array, like):
        return None
    gates = 4 * units.literal_value
    pack = Pack(like.dtype, like.lanes, gates * like.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(gates):
            scalar = builder.load(builder.gep(data, [builder.add(args[1], INT64(r))]))
            vectors += [broadcast(builder, vector_type(like), scalar)] * like.count
        return repack(builder, pack, vectors)

    return pack(array, types.int64, units, like), codegen


@intrinsic
def fma_gates(typingctx: Any, array: Any, at: Any, stride: Any, v: Any, sums: Any) -> Any:
    """Return the gates `sums[r] + array[at + r * stride] * v`, rounded once: a rank-one update."""
    if not is_flat(array, v):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        of_v, of_sums = unpack(builder, v, args[3]), unpack(builder, sums, args[4])
        vectors = []
        for r in range(sums.count // v.count):
            scalar = builder.load(builder.gep(data, [offset(builder, args[1], args[2], r)]))
            weight = broadcast(builder, vector_type(v), scalar)
            for j in range(v.count):
                vectors.append(fused(builder, weight, of_v[j], of_sums[r * v.count + j]))
        return repack(builder, sums, vectors)

    return sums(array, types.int64, types.int64, v, sums), codegen


@intrinsic
def fma_rows(typingctx: Any, array: Any, starts: Any, at: Any, v: Any, sums: Any) -> Any:
    """Return the packs `sums[r] + array[starts[r] + at] * v`, rounded once."""
    if not is_flat(array, v):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        offsets = array_data(context, builder, starts, args[1])
        of_v, of_sums = unpack(builder, v, args[3]), unpack(builder, sums, args[4])
        vectors = []
        for r in range(sums.count // v.count):
            start = builder.load(builder.gep(offsets, [INT64(r)]))
            scalar = builder.load(builder.gep(builder.gep(data, [start]), [args[2]]))
            number = broadcast(builder, vector_type(v), scalar)
            for j in range(v.count):
                vectors.append(fused(builder, number, of_v[j], of_sums[r * v.count + j]))
        return repack(builder, sums, vectors)

    return sums(array, starts, types.int64, v, sums), codegen


@intrinsic(prefer_literal=True)
def take_gate(typingctx: Any, gates: Any, index: Any, like: Any) -> Any:
    """Return one of the gates as a pack of the shape of `like`."""
    first = index.literal_value * like.count

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, gates, args[0])[first : first + like.count]
        return repack(builder, like, vectors)

    return like(gates, index, like), codegen


@intrinsic(prefer_literal=True)
def split_gates(typingctx: Any, gates: Any, part: Any, gate: Any, like: Any) -> Any:
    """Return i, f, g and o, each a pack of the shape of `like`.

    One gate of one unit has the shape of `gate`. `like` has the shape of one gate of all units, or
    of the units of one `part`. In the drawing above, a `like` of six vectors takes each gate of
    both units, and a `like` of three vectors takes those of the unit that `part` names.
    """
    four = types.UniTuple(like, 4)
    size, first, last = gate.count, *(4 * like.count * (part.literal_value + k) for k in (0, 1))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = unpack(builder, gates, args[0])[first:last]
        packs = []
        for which in range(4):
            of_gate = range(which * size, len(vectors), 4 * size)
            joined = [vector for at in of_gate for vector in vectors[at : at + size]]
            packs.append(repack(builder, like, joined))
        return context.make_tuple(builder, four, packs)

    return four(gates, part, gate, like), codegen


@intrinsic
def repeat(typingctx: Any, pack: Any, like: Any) -> Any:
    """Return a pack of the shape of `like`: copies of `pack`, one after the other."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return repack(builder, like, unpack(builder, pack, args[0]) * (like.count // pack.count))

    return like(pack, like), codegen


@intrinsic
def load_strided(typingctx: Any, array: Any, at: Any, stride: Any, part: Any, like: Any) -> Any:
    """Return a pack of the shape of `like`; part r is loaded from `array[at + r * stride]`."""
    if not is_flat(array, part):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(like.count // part.count):
            at = offset(builder, args[1], args[2], r)
            pointer = vector_pointer(builder, data, at, part)
            for j in range(part.count):
                vector = builder.gep(pointer, [INT32(j)])
                vectors.append(builder.load(vector, align=scalar_bytes(part)))
        return repack(builder, like, vectors)

    return like(array, types.int64, types.int64, part, like), codegen


@intrinsic
def store_strided(typingctx: Any, array: Any, at: Any, stride: Any, pack: Any, part: Any) -> Any:
    """Write a pack, its part r to `array[at + r * stride]`."""
    if not is_flat(array, part):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        for q, vector in enumerate(unpack(builder, pack, args[3])):
            r, j = divmod(q, part.count)
            at = offset(builder, args[1], args[2], r)
            pointer = vector_pointer(builder, data, at, part)
            builder.store(vector, builder.gep(pointer, [INT32(j)]), align=scalar_bytes(part))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, pack, part), codegen


@intrinsic
def splat_strided(typingctx: Any, array: Any, at: Any, stride: Any, part: Any, like: Any) -> Any:
    """Return a pack of the shape of `like`; part r is filled with `array[at + r * stride]`."""
    if not is_flat(array, part):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        vectors = []
        for r in range(like.count // part.count):
            scalar = builder.load(builder.gep(data, [offset(builder, args[1], args[2], r)]))
            vectors += [broadcast(builder, vector_type(part), scalar)] * part.count
        return repack(builder, like, vectors)

    return like(array, types.int64, types.int64, part, like), codegen


@intrinsic
def join_two(typingctx: Any, a: Any, b: Any) -> Any:
    """Return two gates as one pack."""
    pack = Pack(a.dtype, a.lanes, 2 * a.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [vector for value in args for vector in unpack(builder, a, value)]
        return repack(builder, pack, vectors)

    return pack(a, a), codegen


@intrinsic
def join(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return three gates as one pack."""
    pack = Pack(a.dtype, a.lanes, 3 * a.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [vector for value in args for vector in unpack(builder, a, value)]
        return repack(builder, pack, vectors)

    return pack(a, a, a), codegen
