"""Arrays as sources: .npy, .npz, Zarr and HDF5 files, rows of equal length or values and offsets.

A file becomes an `ArrayFile`, which hands out rows and steps; `ArrayReader` and `RaggedReader`
make chunks of sequences of it.
"""
