"""Where sequences come from.

`open.open_source` finds the files of a source and the reader for their kind: of arrays
(`arrays/`), of tables (`tables/`), or of standard input. Every reader gives its sequences as
chunks, and knows nothing of the model but what it takes at a step.
"""
