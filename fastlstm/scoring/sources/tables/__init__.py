"""Tables as sources: Parquet, Arrow and CSV files, a row for a sequence or a row for a step.

A file becomes batches of columns (`Table.batches`, the one place that everything here reads
through); `SequenceColumns` find whole sequences in its rows, `StepReader` gathers their steps; and
`Cutter` makes chunks of what they find.
"""
