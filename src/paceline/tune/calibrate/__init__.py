"""Fitting the simulator to one server: what its batches took, and what its requests waited for besides."""
