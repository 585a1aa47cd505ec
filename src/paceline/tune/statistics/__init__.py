"""Decisions from few and noisy runs. Nothing here knows what a server is."""
