"""The scripted server, for the tests of this folder."""

from scripted_server import scripted_server, server

__all__ = ["scripted_server", "server"]
