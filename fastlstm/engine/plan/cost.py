"""Which kind of tile a call uses: what is in the lanes, and how many sequences a tile has."""

from __future__ import annotations

import math
import operator

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.kernel.forms import CELL, UNITS, Kind, Tile, possible_kinds
from fastlstm.engine.plan.chain import Stack
from fastlstm.network.layers import Layer

MOST_UNIT_SEQUENCES = 32

# Measured cycles: for the activations of a vector of hidden units, for the whole chain of
# dependencies in them, and for one multiply-add.
ACTIVATIONS, ACTIVATIONS_LATENCY, LATENCY = 75, 280, 4
# Multiply-adds take this many times as long as the ports would allow.
STALLS, UNIT_STALLS = 1.15, 1.5
# A second kernel has to be compiled, and may be a little slower than this model predicts.
WORTH_A_SECOND_KERNEL = 0.98
# Weights that do not fit into the L1 cache come from the L2 cache at this many bytes a cycle.
L1_BYTES, L2_BYTES_A_CYCLE = 32 * 1024, 40


def choose_tile(stack: Stack, n_rows: int, n_threads: int, traced: bool) -> Tile:
    """Return the tile that finishes `n_rows` sequences first on `n_threads` threads.

    In the last round of tiles some threads may be idle, so smaller tiles can win although each
    sequence takes longer in them: 512 sequences are 11 tiles of 48 (6 rounds of 2 threads) or 8 of
    64 (4 rounds).
    """
    return _fastest(stack, n_rows, n_threads, traced)[1]


def choose_tiles(
    stack: Stack, n_rows: int, n_threads: int, traced: bool
) -> tuple[tuple[Tile, int], ...]:
    """Return tiles for `n_rows` sequences of equal length, each with how many of them it takes.

    Large tiles for whole rounds and smaller ones for the rest can be faster than one kind for all:
    of 130 sequences, each of two threads takes one tile of 48, and then a smaller one of 17.
    """
    least, tile = _fastest(stack, n_rows, n_threads, traced)
    least *= WORTH_A_SECOND_KERNEL
    found: tuple[tuple[Tile, int], ...] = ((tile, n_rows),)
    for kind in _kinds_for(stack, traced):
        tile = make_tile(kind, n_rows, n_threads)
        rounds, rest = divmod(n_rows, tile.sequences * n_threads)
        if rounds and rest:
            cycles_of_rest, tile_of_rest = _fastest(stack, rest, n_threads, traced)
            cycles = rounds * _cycles(tile, stack) + cycles_of_rest
            if cycles < least and tile_of_rest != tile:
                least, found = cycles, ((tile, n_rows - rest), (tile_of_rest, rest))
    return found


def _kinds_for(stack: Stack, traced: bool) -> tuple[Kind, ...]:
    return possible_kinds(np.dtype(stack.layers[0].dtype).name, stack.form, traced)


def _fastest(stack: Stack, n_rows: int, n_threads: int, traced: bool) -> tuple[float, Tile]:
    """Return the tile that takes the fewest cycles for a time step, and how many it takes."""
    found = []
    for kind in _kinds_for(stack, traced):
        tile = make_tile(kind, n_rows, n_threads)
        rounds = math.ceil(math.ceil(n_rows / tile.sequences) / n_threads)
        found.append((rounds * _cycles(tile, stack), tile))
    return min(found, key=operator.itemgetter(0))


def _cycles(tile: Tile, stack: Stack) -> float:
    looked_up = stack.embedding is not None or stack.repeated
    return sum(
        _step_cycles(tile, layer, 0 if looked_up and i == 0 else layer.input_size)
        for i, layer in enumerate(stack.layers)
    )


def make_tile(kind: Kind, n_rows: int, n_threads: int) -> Tile:
    """Return the tile of a kind that suits this number of sequences and threads."""
    sequences = kind.least_sequences
    if kind.lanes_hold == UNITS:  # one for each thread: weights are read once for each tile
        share = -(-n_rows // n_threads)
        sequences *= min(-(-share // sequences), MOST_UNIT_SEQUENCES // sequences)
    return Tile(kind, sequences)


def _step_cycles(tile: Tile, layer: Layer, n_inputs: int) -> float:
    """Return about how many cycles one time step of a tile takes: two multiply-adds a cycle."""
    kind = tile.kind
    n_hidden, n_summed = layer.hidden_size, layer.output_size
    if kind.lanes_hold != UNITS:
        simd = cpu.simd()
        speeds = simd.cell_speed if kind.lanes_hold == CELL else simd.layer_speed
        products = 2.0 * (n_inputs + n_summed)
        if layer.w_hr is not None:
            products += n_summed / 2
        return (
            n_hidden * kind.vectors * (products * STALLS + ACTIVATIONS) / speeds[kind.vectors - 1]
        )
    states = kind.vectors * kind.group
    unit_bytes = 4 * kind.vectors * cpu.vector_bits() // 8  # of a group's weights for one unit
    groups = kind.padded(n_hidden) // (kind.vector_lanes * kind.vectors)
    parts = tile.sequences // kind.group
    activations = max(ACTIVATIONS * states, ACTIVATIONS_LATENCY)
    of_inputs = 2 * states * n_inputs * UNIT_STALLS
    in_cache = max(2 * states, LATENCY) * n_summed * UNIT_STALLS
    streamed = in_cache
    if groups * unit_bytes * n_summed > L1_BYTES:
        streamed = max(in_cache, unit_bytes * n_summed / L2_BYTES_A_CYCLE)
    if unit_bytes * n_summed > L1_BYTES:
        in_cache = streamed
    cycles = groups * (parts * (of_inputs + activations) + streamed + (parts - 1) * in_cache)
    if layer.w_hr is not None:  # an output vector after the other, a sequence after the other
        vectors = -(-n_summed // kind.vector_lanes)
        cycles += tile.sequences * vectors * n_hidden * LATENCY
    return cycles
