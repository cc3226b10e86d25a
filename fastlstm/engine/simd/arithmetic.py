"""Arithmetic on packs, vector by vector; `+ - * /` work as operators."""

from __future__ import annotations

import operator
from functools import partial, reduce
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from fastlstm.engine.simd.pack import (
    Pack,
    constant_pack,
    constant_vector,
    elementwise,
    fused,
    int_vector_type,
    intrinsic,
    repack,
    unpack,
    vector_type,
)


@intrinsic(prefer_literal=True)
def empty_pack(typingctx: Any, array: Any, lanes: Any, count: Any) -> Any:
    """Return a zero pack of `count` vectors of `lanes` numbers of the dtype of `array`."""
    pack = Pack(array.dtype, lanes.literal_value, count.literal_value)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant_pack(pack, 0.0)

    return pack(array, lanes, count), codegen


@intrinsic
def one_vector(typingctx: Any, like: Any) -> Any:
    """Return a zero pack of one vector as wide as those of `like`."""
    pack = Pack(like.dtype, like.lanes, 1)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant_pack(pack, 0.0)

    return pack(like), codegen


@intrinsic
def lane_count(typingctx: Any, like: Any) -> Any:
    """Return how many numbers a pack holds: the lanes of all its vectors."""

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
        return constant_pack(like, 0.0)

    return like(like), codegen


def _register_operator(function: Any, instruction: str) -> None:
    @infer_global(function)
    class _PackOperator(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            left, right = args
            if isinstance(left, Pack) and left == right:
                return signature(left, left, left)
            return None

    @lower_builtin(function, Pack, Pack)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return elementwise(builder, sig.return_type, getattr(builder, instruction), *args)


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
        return elementwise(builder, a, partial(fused, builder), *args)

    return a(a, a, a), codegen


@intrinsic
def fms(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b - c`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(x: Any, y: Any, z: Any) -> Any:
            return fused(builder, x, y, builder.fneg(z))

        return elementwise(builder, a, one, *args)

    return a(a, a, a), codegen


@intrinsic
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `c - a * b`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(x: Any, y: Any, z: Any) -> Any:
            return fused(builder, builder.fneg(x), y, z)

        return elementwise(builder, a, one, *args)

    return a(a, a, a), codegen


@intrinsic
def square_root(typingctx: Any, x: Any) -> Any:
    """Return the square root of `x`, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(vector_type(x), [vector_type(x)])
        name = f"llvm.sqrt.v{x.lanes}f{x.dtype.bitwidth}"
        callee = cgutils.get_or_insert_function(builder.module, kind, name)
        return elementwise(builder, x, lambda value: builder.call(callee, [value]), args[0])

    return x(x), codegen


@intrinsic
def at_most(typingctx: Any, x: Any, bound: Any) -> Any:
    """Return the lesser of `x` and `bound`; a NaN in `x` stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, limit: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", limit, value), limit, value)

        return elementwise(builder, x, one, *args)

    return x(x, x), codegen


@intrinsic
def at_least(typingctx: Any, x: Any, bound: Any) -> Any:
    """Return the greater of `x` and `bound`; a NaN in `x` stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, limit: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", limit, value), limit, value)

        return elementwise(builder, x, one, *args)

    return x(x, x), codegen


@intrinsic
def where_at_most(typingctx: Any, x: Any, bound: Any, chosen: Any, other: Any) -> Any:
    """Return `chosen` where `x` is at most `bound`, elsewhere (and where x is NaN) `other`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, limit: Any, yes: Any, no: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<=", value, limit), yes, no)

        return elementwise(builder, x, one, *args)

    return x(x, x, x, x), codegen


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
    return constant_vector(int_vector_type(pack), 1 << (int(pack.dtype.bitwidth) - 1))


@intrinsic
def absolute(typingctx: Any, x: Any) -> Any:
    """Return |x| (clears the sign bit, NaN included)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any) -> Any:
            bits = builder.bitcast(value, int_vector_type(x))
            return builder.bitcast(builder.and_(bits, builder.not_(_sign_mask(x))), vector_type(x))

        return elementwise(builder, x, one, *args)

    return x(x), codegen


@intrinsic
def with_sign_of(typingctx: Any, magnitude: Any, sign: Any) -> Any:
    """Return `magnitude` (whose sign bit must be clear) with the sign bit of `sign`."""
    pack = magnitude

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def one(value: Any, source: Any) -> Any:
            bit = builder.and_(builder.bitcast(source, int_vector_type(pack)), _sign_mask(pack))
            return builder.bitcast(
                builder.or_(builder.bitcast(value, int_vector_type(pack)), bit), vector_type(pack)
            )

        return elementwise(builder, pack, one, *args)

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
            bits = builder.bitcast(value, int_vector_type(shifted))
            moved = builder.shl(bits, constant_vector(int_vector_type(shifted), mantissa_bits))
            return builder.bitcast(moved, vector_type(shifted))

        return elementwise(builder, shifted, one, *args)

    return shifted(shifted), codegen


@intrinsic
def split_power(typingctx: Any, x: Any) -> Any:
    """Return (n, m) with x = 2^n m and m from sqrt(1/2) to sqrt(2), for positive normal numbers."""
    two = types.UniTuple(x, 2)
    mantissa_bits = 23 if x.dtype.bitwidth == 32 else 52
    root = 0x3F3504F3 if x.dtype.bitwidth == 32 else 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integers = int_vector_type(x)
        shift = constant_vector(integers, mantissa_bits)
        powers, rests = [], []
        for value in unpack(builder, x, args[0]):
            bits = builder.bitcast(value, integers)
            power = builder.ashr(builder.sub(bits, constant_vector(integers, root)), shift)
            powers.append(builder.sitofp(power, vector_type(x)))
            rest = builder.sub(bits, builder.shl(power, shift))
            rests.append(builder.bitcast(rest, vector_type(x)))
        return context.make_tuple(
            builder, two, [repack(builder, x, powers), repack(builder, x, rests)]
        )

    return two(x), codegen
