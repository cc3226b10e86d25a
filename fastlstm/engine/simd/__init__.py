"""The SIMD vector type, its arithmetic, and functions of vectors."""
