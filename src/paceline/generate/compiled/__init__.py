"""The forward pass compiled for AVX-512: numba and LLVM vector instructions, no torch."""
