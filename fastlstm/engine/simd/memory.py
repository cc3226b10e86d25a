"""Loading and storing packs, prefetches, and the counter that threads share.

Memory is accessed at an element offset, through one-dimensional C-contiguous arrays or plain
pointers, without bounds checks: the callers are responsible for the bounds. The kernels pass
pointers around, because an array is seven values in LLVM's code, and counts its references.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from fastlstm.engine.simd.pack import (
    INT32,
    INT64,
    array_data,
    broadcast,
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


@intrinsic
def pointer_of(typingctx: Any, array: Any) -> Any:
    """Return the pointer to the numbers of an array."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return array_data(context, builder, array, args[0])

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def pointer_at(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Return the pointer to the numbers of a dtype at an address."""
    pointer = types.CPointer(dtype.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(types.int64, dtype), codegen


@intrinsic
def record_at(typingctx: Any, address: Any, index: Any, dtype: Any) -> Any:
    """Return one of the records at an address."""
    record = dtype.dtype

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = builder.add(args[0], builder.mul(args[1], INT64(record.size)))
        return builder.inttoptr(at, context.get_value_type(record))

    return record(types.int64, types.int64, dtype), codegen


@intrinsic
def load(typingctx: Any, array: Any, at: Any, like: Any) -> Any:
    """Return `array[at : at + lanes * count]` as a pack."""
    if not is_flat(array, like):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = vector_pointer(
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
        pointer = vector_pointer(
            builder, array_data(context, builder, array, args[0]), args[1], value
        )
        for j, vector in enumerate(unpack(builder, value, args[2])):
            builder.store(vector, builder.gep(pointer, [INT32(j)]), align=scalar_bytes(value))
        return context.get_dummy_value()

    return types.void(array, types.int64, value), codegen


@intrinsic
def load_first(typingctx: Any, array: Any, at: Any, count: Any, like: Any) -> Any:
    """Return `array[at : at + count]` as one vector, filled up with zeros."""
    if not is_flat(array, like):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = vector_type(like)
        data = array_data(context, builder, array, args[0])
        pointer = vector_pointer(builder, data, args[1], like)
        mask, nothing = first_lanes(builder, like, args[2]), ir.Constant(vector, None)
        masked = [pointer, INT32(scalar_bytes(like)), mask, nothing]
        return repack(builder, like, [call_masked(builder, like, "load", masked, vector)])

    return like(array, types.int64, types.int64, like), codegen


@intrinsic
def store_first(typingctx: Any, array: Any, at: Any, count: Any, value: Any) -> Any:
    """Write the first numbers of one vector to `array[at : at + count]`."""
    if not is_flat(array, value):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (vector,) = unpack(builder, value, args[3])
        data = array_data(context, builder, array, args[0])
        pointer = vector_pointer(builder, data, args[1], value)
        masked = [vector, pointer, INT32(scalar_bytes(value)), first_lanes(builder, value, args[2])]
        call_masked(builder, value, "store", masked, ir.VoidType())
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, value), codegen


@intrinsic
def load_splat(typingctx: Any, array: Any, at: Any, like: Any) -> Any:
    """Return a pack with every lane equal to `array[at]`."""
    if not is_flat(array, like):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        scalar = builder.load(builder.gep(data, [args[1]]))
        vector = broadcast(builder, vector_type(like), scalar)
        return repack(builder, like, [vector] * like.count)

    return like(array, types.int64, like), codegen


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


@intrinsic
def fetch_add(typingctx: Any, array: Any, amount: Any) -> Any:
    """Add `amount` to `array[0]` atomically and return what it was.

    A thread that reads a sum also sees everything that was written to memory before a number was
    added to it.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = array_data(context, builder, array, args[0])
        return builder.atomic_rmw("add", data, args[1], "acq_rel")

    return types.int64(array, types.int64), codegen


@intrinsic
def align_stack(typingctx: Any, like: Any) -> Any:
    """Have the calling function keep its stack frame aligned to cache lines.

    LLVM assumes an alignment of 16 bytes, so where it spills whole vectors depends on the depth of
    the caller's stack: in three of four cases they cross cache lines. One over-aligned variable,
    kept alive by an empty piece of assembly, makes LLVM align the frame.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        variable = cgutils.alloca_once(builder, vector_type(like))
        variable.align = 64
        kind = ir.FunctionType(ir.VoidType(), [variable.type])
        builder.call(ir.InlineAsm(kind, "", "r", side_effect=True), [variable])
        return context.get_dummy_value()

    return types.void(like), codegen
