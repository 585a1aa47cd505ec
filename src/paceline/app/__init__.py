"""Composition: the parts of a process, joined. The only place that knows everything."""

from paceline.app.model import open_embedder

__all__ = ["open_embedder"]
