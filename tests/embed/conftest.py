"""Fixtures of tiny model folders; see tiny_models."""

from tiny_models import ids, make_folder, minilm, onnx_folder

__all__ = ["ids", "make_folder", "minilm", "onnx_folder"]
