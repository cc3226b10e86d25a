"""The pack: the SIMD type that the kernels compute with, and the LLVM code behind it.

A *pack* is `count` SIMD vectors of `lanes` numbers each, held in registers. It is a Numba type
backed by an LLVM array of LLVM vectors. Every operation acts on each vector of the pack, so one
line of kernel code gives the CPU several independent instructions, which hide each other's latency.

The operations are Numba intrinsics in `arithmetic`, `memory`, `gates` and `transpose`. Kernels use
those; the intrinsics use this module. An operation that has to know the shape of its result takes a
pack `like`. All arithmetic is strict IEEE-754 (no `fastmath`), so any number of lanes gives the
same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, extending, types
from numba.core.extending import models, register_model

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)

# Any, for the type checker: kernels call it with fewer arguments than its Python function has.
intrinsic: Any = extending.intrinsic


class Pack(types.Type):
    """Numba type of `count` vectors of `lanes` numbers of type `dtype`."""

    def __init__(self, dtype: types.Float, lanes: int, count: int) -> None:
        self.dtype, self.lanes, self.count = dtype, lanes, count
        super().__init__(name=f"Pack({dtype}, {lanes}, {count})")


@register_model(Pack)
class PackModel(models.PrimitiveModel):
    """A pack is an LLVM array of vectors: `[count x <lanes x dtype>]`."""

    def __init__(self, dmm: Any, fe_type: Pack) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(vector_type(fe_type), fe_type.count))


def vector_type(pack: Pack) -> ir.VectorType:
    """Return the LLVM type of one vector of a pack."""
    scalar = ir.FloatType() if pack.dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, pack.lanes)


def int_vector_type(pack: Pack) -> ir.VectorType:
    """Return the type of a vector of integers as wide as the numbers of a pack."""
    return ir.VectorType(ir.IntType(pack.dtype.bitwidth), pack.lanes)


def constant_vector(vector: ir.VectorType, value: float) -> ir.Constant:
    """Return the constant vector with `value` in every lane."""
    return ir.Constant(vector, [value] * vector.count)


def constant_pack(pack: Pack, value: float) -> ir.Constant:
    """Return the LLVM constant of a pack with `value` in every lane."""
    vector = constant_vector(vector_type(pack), value)
    return ir.Constant(ir.ArrayType(vector_type(pack), pack.count), [vector] * pack.count)


def unpack(builder: Any, pack: Pack, value: Any) -> list[Any]:
    """Return the vectors of a pack."""
    return [builder.extract_value(value, j) for j in range(pack.count)]


def repack(builder: Any, pack: Pack, vectors: list[Any]) -> Any:
    """Return vectors as a pack."""
    value = ir.Constant(ir.ArrayType(vector_type(pack), pack.count), ir.Undefined)
    for j, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, j)
    return value


def broadcast(builder: Any, vector: ir.VectorType, scalar: Any) -> Any:
    """Return the vector with `scalar` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def elementwise(builder: Any, pack: Pack, operation: Callable[..., Any], *values: Any) -> Any:
    """Apply an operation on vectors to each vector of some packs of one shape."""
    columns = zip(*(unpack(builder, pack, value) for value in values), strict=True)
    return repack(builder, pack, [operation(*vectors) for vectors in columns])


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return `a * b + c` of vectors, rounded once."""
    # llvmlite's builder.fma takes scalars only; the intrinsic is declared by name for vectors.
    bits = 32 if isinstance(a.type.element, ir.FloatType) else 64
    name = f"llvm.fma.v{a.type.count}f{bits}"
    signature_ = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature_, name), [a, b, c])


def array_data(context: Any, builder: Any, array_type: types.Type, array: Any) -> Any:
    """Return the pointer to the data of an array, or a pointer as it is."""
    if isinstance(array_type, types.CPointer):
        return array
    return context.make_array(array_type)(context, builder, array).data


def vector_pointer(builder: Any, data: Any, at: Any, pack: Pack) -> Any:
    """Return the pointer to the vector that begins at `data[at]`."""
    pointer = builder.gep(data, [at])
    return builder.bitcast(pointer, vector_type(pack).as_pointer())


def scalar_bytes(pack: Pack) -> int:
    """Return the size of one number of a pack: the alignment that loads can rely on."""
    return int(pack.dtype.bitwidth) // 8


def is_flat(array: Any, pack: Pack) -> bool:
    """Tell whether numbers lie side by side, in an array or behind a pointer, as in a pack."""
    if isinstance(array, types.Array) and (array.ndim != 1 or array.layout != "C"):
        return False
    return isinstance(array, types.Array | types.CPointer) and array.dtype == pack.dtype


def first_lanes(builder: Any, pack: Pack, count: Any) -> Any:
    """Return the mask `lane < count`."""
    wide = ir.VectorType(INT64, pack.lanes)
    undefined = ir.Constant(wide, ir.Undefined)
    first = builder.insert_element(undefined, count, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, pack.lanes), [0] * pack.lanes)
    counts = builder.shuffle_vector(first, undefined, zeros)
    return builder.icmp_signed("<", ir.Constant(wide, list(range(pack.lanes))), counts)


def call_masked(builder: Any, pack: Pack, kind: str, arguments: list[Any], result: Any) -> Any:
    """Call a masked load or store of a vector, which leaves other lanes' memory alone."""
    name = f"llvm.masked.{kind}.v{pack.lanes}f{pack.dtype.bitwidth}.p0"
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    callee = cgutils.get_or_insert_function(builder.module, function, name)
    return builder.call(callee, arguments)
