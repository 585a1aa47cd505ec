"""Vectors: how they are encoded, the graph over them, and compiled search of both."""
