"""Composition of a tune: the load generator, a server that takes settings, and the tuner that joins them."""
