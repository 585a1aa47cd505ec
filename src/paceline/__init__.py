"""Paceline serves AI models, measures them, and tunes them until they hold a service-level objective."""

__version__ = "0.1.0"
