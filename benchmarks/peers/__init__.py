"""Embedding servers other than ours, run on the same weights so that a comparison is one command."""
