"""What a plan tells a kernel: two NumPy records, whose fields the kernels read by name.

Places and sizes are counted in numbers of the kernel's dtype, a place from the start of the memory
that it is in. "Units" marks what only tiles with hidden units in their lanes use.
"""

from __future__ import annotations

import numpy as np

# One layer of a stack.
LAYER = np.dtype([
    ("inputs", np.int64),  # that are summed over; 0 if their sums are looked up
    ("hidden", np.int64),  # hidden units
    ("outputs", np.int64),  # of h: `hidden`, or fewer with a projection
    ("kept", np.int64),  # 1: h of every step of a block is kept; 0: two are used in turn
    # places in the panels
    ("panel", np.int64),  # biases and weights; units: those of the inputs alone
    ("hidden_panel", np.int64),  # units: the weights of the last hidden state
    ("cell_panel", np.int64),  # the cell's numbers and peepholes
    ("projection_panel", np.int64),
    ("norm_panel", np.int64),  # of the layer norm of what it reads; -1: there is none
    # in the flat states that come in and go out, for each of their rows
    ("state_h_at", np.int64),
    ("state_c_at", np.int64),
    # places in scratch memory
    ("x_at", np.int64),  # what the layer reads: its inputs of a block of steps
    ("h_at", np.int64),  # the hidden states before and after each step
    ("c_at", np.int64),  # the cell state now
    ("cell_output_at", np.int64),  # what is projected to h
    ("final_h_at", np.int64),  # the states of sequences that have ended
    ("final_c_at", np.int64),
    # units: sizes filled up to whole vectors
    ("x_step", np.int64),  # from one sequence's inputs to the next one's
    ("padded", np.int64),  # hidden units
    ("padded_outputs", np.int64),  # h of one sequence
], align=True)  # fmt: skip

# Everything else.
PLAN = np.dtype([
    # addresses, in bytes, of arrays that the plan or a thread's scratch memory keeps alive
    ("layers", np.int64),  # of `LAYER` records
    ("panels", np.int64),  # packed weights
    ("table", np.int64),  # what an embedding's ids look up
    ("scratch", np.int64),  # the thread's
    ("seats", np.int64),  # the thread's: integers, five for each sequence of a tile
    #
    ("n_layers", np.int64),
    ("sequences", np.int64),  # of a tile
    ("block_steps", np.int64),  # that are walked before the next layer has its turn
    ("every_step", np.int64),  # 1: outputs of every step are written; 0: of the last one
    # inputs
    ("width", np.int64),  # numbers, or ids, of a step
    ("x_width", np.int64),  # numbers of a step in scratch memory: `width`, or a row of the table
    ("last_id", np.int64),  # the last row of the table
    ("reversed", np.int64),  # 1: read from the last step to the first
    ("repeated", np.int64),  # 1: a sequence has one step of inputs, which is read again and again
    # outputs, and the gates of a trace
    ("out_reversed", np.int64),  # 1: written from the last step to the first
    ("out_stride", np.int64),  # from step to step
    ("out_column", np.int64),  # of our first number within a step
    ("gate_stride", np.int64),
    ("gate_column", np.int64),
    ("head_outputs", np.int64),  # 0: no head, the outputs are the last layer's h
    ("head_panel", np.int64),  # place in the panels
    # places in scratch memory
    ("y_at", np.int64),  # outputs of the head
    ("gates_at", np.int64),  # i f g o and c of the last layer
    ("gates_apart", np.int64),  # from each of the five to the next one
    ("z_at", np.int64),  # units: the sums over the inputs
    ("sums_at", np.int64),  # b + W_ih x of inputs that are repeated
], align=True)  # fmt: skip
