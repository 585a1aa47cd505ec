"""Search of encoded vectors, compiled by numba; each has a plain twin in the package above that tests it."""
