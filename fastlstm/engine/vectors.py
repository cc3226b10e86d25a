"""SIMD packs: the explicit vector type that the kernels compute with.

A *pack* is `count` SIMD vectors of `lanes` numbers each, held in registers. It is a Numba
type backed by an LLVM array of LLVM vectors; every operation below acts on each vector of
the pack, so that one line of kernel code is also the instruction-level parallelism that
hides the latency of its neighbours.

Operations take a pack `like` where they need to know the shape of their result. Memory is
reached through one-dimensional C-contiguous arrays at an element offset, without bounds
checks: the callers own the bounds.

All arithmetic is strict IEEE-754 (no `fastmath`), so that any lane count gives the same bits.
"""

from __future__ import annotations

import operator
from functools import partial, reduce
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic, lower_builtin, models, register_model
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


class Pack(types.Type):  # type: ignore[misc]
    """Numba type of `count` vectors of `lanes` numbers of type `dtype`."""

    def __init__(self, dtype: types.Float, lanes: int, count: int) -> None:
        self.dtype, self.lanes, self.count = dtype, lanes, count
        super().__init__(name=f"Pack({dtype}, {lanes}, {count})")


@register_model(Pack)
class PackModel(models.PrimitiveModel):  # type: ignore[misc]
    """A pack is an LLVM array of vectors: `[count x <lanes x dtype>]`."""

    def __init__(self, dmm: Any, fe_type: Pack) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(vector_type(fe_type), fe_type.count))


def vector_type(pack: Pack) -> ir.VectorType:
    scalar = ir.FloatType() if pack.dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, pack.lanes)


def _ints(pack: Pack) -> ir.VectorType:
    return ir.VectorType(ir.IntType(pack.dtype.bitwidth), pack.lanes)


def _constant(vector: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def unpack(builder: Any, pack: Pack, value: Any) -> list[Any]:
    return [builder.extract_value(value, j) for j in range(pack.count)]


def repack(builder: Any, pack: Pack, vectors: list[Any]) -> Any:
    value = ir.Constant(ir.ArrayType(vector_type(pack), pack.count), ir.Undefined)
    for j, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, j)
    return value


def _broadcast(builder: Any, vector: ir.VectorType, scalar: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def array_data(context: Any, builder: Any, array_type: types.Array, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _vector_pointer(builder: Any, data: Any, at: Any, pack: Pack) -> Any:
    pointer = builder.gep(data, [at])
    return builder.bitcast(pointer, vector_type(pack).as_pointer())


def scalar_bytes(pack: Pack) -> int:
    return int(pack.dtype.bitwidth) // 8


def is_flat(array: Any, pack: Pack) -> bool:
    return (
        isinstance(array, types.Array)
        and array.ndim == 1
        and array.layout == "C"
        and array.dtype == pack.dtype
    )


# --- making packs ---------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def empty_pack(typingctx: Any, array: Any, lanes: Any, count: Any) -> Any:
    """Return a zero pack of `count` vectors of `lanes` numbers of the dtype of `array`."""
    pack = Pack(array.dtype, lanes.literal_value, count.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.ArrayType(vector_type(pack), pack.count), None)

    return pack(array, lanes, count), codegen


@intrinsic
def lane_count(typingctx: Any, like: Any) -> Any:
    """Return how many sequences a pack holds: the lanes of all its vectors."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), like.lanes * like.count)

    return types.int64(like), codegen


@intrinsic
def vector_lanes(typingctx: Any, like: Any) -> Any:
    """Return how many numbers one vector of a pack holds."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), like.lanes)

    return types.int64(like), codegen


@intrinsic
def zeros(typingctx: Any, like: Any) -> Any:
    """Return a pack of +0 with the shape of `like`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.ArrayType(vector_type(like), like.count), None)

    return like(like), codegen


@intrinsic
def splat(typingctx: Any, scalar: Any, like: Any) -> Any:
    """Return a pack with every lane equal to `scalar` (converted to the dtype of `like`)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        number = context.cast(builder, args[0], scalar, like.dtype)
        vector = _broadcast(builder, vector_type(like), number)
        return repack(builder, like, [vector] * like.count)

    return like(scalar, like), codegen


# --- memory ---------------------------------------------------------------------------------


@intrinsic
def load(typingctx: Any, array: Any, at: Any, like: Any) -> Any:
    """Return `array[at : at + lanes * count]` as a pack."""
    if not is_flat(array, like):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _vector_pointer(
            builder, array_data(context, builder, array, args[0]), args[1], like
        )
        vectors = [
            builder.load(builder.gep(pointer, [INT32(j)]), align=scalar_bytes(like))
            for j in range(like.count)
        ]
        return repack(builder, like, vectors)

    return like(array, types.int64, like), codegen


@intrinsic
def store(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """Write a pack to `array[at : at + lanes * count]`."""
    if not is_flat(array, value):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _vector_pointer(
            builder, array_data(context, builder, array, args[0]), args[1], value
        )
        for j, vector in enumerate(unpack(builder, value, args[2])):
            builder.store(vector, builder.gep(pointer, [INT32(j)]), align=scalar_bytes(value))
        return context.get_dummy_value()

    return types.void(array, types.int64, value), codegen


@intrinsic
def load_splat(typingctx: Any, array: Any, at: Any, like: Any) -> Any:
    """Return a pack with every lane equal to `array[at]`."""
    if not is_flat(array, like):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        scalar = builder.load(builder.gep(data, [args[1]]))
        vector = _broadcast(builder, vector_type(like), scalar)
        return repack(builder, like, [vector] * like.count)

    return like(array, types.int64, like), codegen


# --- arithmetic -----------------------------------------------------------------------------


def _elementwise(builder: Any, pack: Pack, operation: Any, *values: Any) -> Any:
    columns = zip(*(unpack(builder, pack, value) for value in values), strict=True)
    return repack(builder, pack, [operation(*vectors) for vectors in columns])


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    # llvmlite's builder.fma takes scalars only; the intrinsic is declared by name for vectors.
    bits = 32 if isinstance(a.type.element, ir.FloatType) else 64
    name = f"llvm.fma.v{a.type.count}f{bits}"
    signature_ = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature_, name), [a, b, c])


def _register_operator(function: Any, instruction: str) -> None:
    @infer_global(function)
    class _PackOperator(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            left, right = args
            if isinstance(left, Pack) and left == right:
                return signature(left, left, left)
            return None

    @lower_builtin(function, Pack, Pack)  # type: ignore[untyped-decorator]
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _elementwise(builder, sig.return_type, getattr(builder, instruction), *args)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register_operator(_function, _instruction)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b + c`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _elementwise(builder, a, partial(_fused, builder), *args)

    return a(a, a, a), codegen


@intrinsic
def fms(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b - c`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(x: Any, y: Any, z: Any) -> Any:
            return _fused(builder, x, y, builder.fneg(z))

        return _elementwise(builder, a, one, *args)

    return a(a, a, a), codegen


@intrinsic
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `c - a * b`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(x: Any, y: Any, z: Any) -> Any:
            return _fused(builder, builder.fneg(x), y, z)

        return _elementwise(builder, a, one, *args)

    return a(a, a, a), codegen


@intrinsic
def at_most(typingctx: Any, x: Any, bound: Any) -> Any:
    """Return the lesser of `x` and `bound`; a NaN in `x` stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, limit: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", limit, value), limit, value)

        return _elementwise(builder, x, one, *args)

    return x(x, x), codegen


@intrinsic
def at_least(typingctx: Any, x: Any, bound: Any) -> Any:
    """Return the greater of `x` and `bound`; a NaN in `x` stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, limit: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", limit, value), limit, value)

        return _elementwise(builder, x, one, *args)

    return x(x, x), codegen


@intrinsic
def any_below(typingctx: Any, x: Any, bound: Any) -> Any:
    """Tell whether any number of `x` is less than that of `bound`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = zip(*(unpack(builder, x, value) for value in args), strict=True)
        masks = [builder.fcmp_ordered("<", value, limit) for value, limit in pairs]
        together = reduce(builder.or_, masks)
        bits = builder.bitcast(together, ir.IntType(x.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(x, x), codegen


def _sign_mask(pack: Pack) -> ir.Constant:
    return _constant(_ints(pack), 1 << (int(pack.dtype.bitwidth) - 1))


@intrinsic
def absolute(typingctx: Any, x: Any) -> Any:
    """Return |x| (clears the sign bit, NaN included)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any) -> Any:
            bits = builder.bitcast(value, _ints(x))
            return builder.bitcast(builder.and_(bits, builder.not_(_sign_mask(x))), vector_type(x))

        return _elementwise(builder, x, one, *args)

    return x(x), codegen


@intrinsic
def with_sign_of(typingctx: Any, magnitude: Any, sign: Any) -> Any:
    """Return `magnitude` (whose sign bit must be clear) with the sign bit of `sign`."""
    pack = magnitude

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, source: Any) -> Any:
            bit = builder.and_(builder.bitcast(source, _ints(pack)), _sign_mask(pack))
            return builder.bitcast(
                builder.or_(builder.bitcast(value, _ints(pack)), bit), vector_type(pack)
            )

        return _elementwise(builder, pack, one, *args)

    return pack(pack, pack), codegen


@intrinsic
def power_of_two(typingctx: Any, shifted: Any) -> Any:
    """Return 2^n where the low bits of the float `shifted` hold n plus the exponent bias.

    `shifted` is `n + bias + 1.5 * 2^mantissa_bits`, the usual way to round a float to an
    integer without leaving the float registers. A NaN gives some finite power of two.
    """
    mantissa_bits = 23 if shifted.dtype.bitwidth == 32 else 52

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any) -> Any:
            bits = builder.bitcast(value, _ints(shifted))
            moved = builder.shl(bits, _constant(_ints(shifted), mantissa_bits))
            return builder.bitcast(moved, vector_type(shifted))

        return _elementwise(builder, shifted, one, *args)

    return shifted(shifted), codegen


@intrinsic
def fetch_add(typingctx: Any, array: Any, amount: Any) -> Any:
    """Add `amount` to `array[0]` atomically and return what it was."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        return builder.atomic_rmw("add", data, args[1], "monotonic")

    return types.int64(array, types.int64), codegen


# --- for intrinsics of other modules --------------------------------------------------------


def constant_pack(pack: Pack, value: float) -> ir.Constant:
    """Return the LLVM constant of a pack with `value` in every lane."""
    vector = _constant(vector_type(pack), value)
    return ir.Constant(ir.ArrayType(vector_type(pack), pack.count), [vector] * pack.count)


def fma_chain(builder: Any, pack: Pack, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Emit a polynomial of `x` by Horner's rule, highest coefficient first."""
    fused = partial(_fused, builder)
    value = constant_pack(pack, coefficients[0])
    for coefficient in coefficients[1:]:
        value = _elementwise(builder, pack, fused, value, x, constant_pack(pack, coefficient))
    return value


# --- rows: several packs of one shape as one pack ----------------------------------------------


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
            vectors += [_broadcast(builder, vector_type(like), scalar)] * like.count
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
            weight = _broadcast(builder, vector_type(v), scalar)
            for j in range(v.count):
                vectors.append(_fused(builder, weight, of_v[j], of_sums[r * v.count + j]))
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


# --- beyond arithmetic ----------------------------------------------------------------------


@intrinsic
def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
    """Ask for the cache line of `array[at]`; an address outside memory is no error."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT32, INT32, INT32])
        callee = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(callee, [pointer, INT32(0), INT32(3), INT32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen
