"""The tables through which a plan tells a kernel where things lie. Offsets are in numbers."""

from __future__ import annotations

# Columns of the table of layers, a row for each layer of the stack.
INPUTS = 0  # 0 of an embedded layer, whose sums over the inputs are looked up
HIDDEN = 1
OUTPUTS = 2  # of h: HIDDEN, or less with a projection
KEEP = 3  # whether h of every step is kept, or the last two take turns
# in the panels
PANEL, CELL_PANEL, PROJECTION_PANEL = 4, 5, 6
# in the flat states that come in and go out
STATE_H_AT, STATE_C_AT = 7, 8
# in scratch memory
X_AT, H_AT, C_AT, CELL_OUTPUT_AT, FINAL_H_AT, FINAL_C_AT = 9, 10, 11, 12, 13, 14
# with hidden units in the lanes
X_STRIDE, PADDED, PADDED_OUTPUTS, HIDDEN_PANEL = 15, 16, 17, 18
LAYER_COLUMNS = 19

# Columns of the one row that describes the rest.
GATES_AT, Y_AT, HEAD_PANEL, HEAD_OUTPUTS = 0, 1, 2, 3
# Numbers of a step in the values; whether they are read from the last step to the first.
WIDTH, REVERSED = 4, 5
# Where outputs go: numbers from row to row (of a step each), and the first of ours in a row;
# whether the first step that is read is the last one of the outputs. Gates likewise.
OUT_STRIDE, OUT_COLUMN, OUT_REVERSED = 6, 7, 8
GATE_STRIDE, GATE_COLUMN = 9, 10
# Of an embedding, the numbers in a row of its table, and its last row.
TABLE_WIDTH, LAST_ID = 11, 12
# with hidden units in the lanes
Z_AT, TILE_SEQUENCES = 13, 14
PLAN_COLUMNS = 15
