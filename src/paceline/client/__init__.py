"""A client of the HTTP API, blocking and asynchronous, with the same names, errors and limits of patience."""

from paceline.client.asynchronous import AsyncClient
from paceline.client.blocking import Client
from paceline.client.generation import Answer, Generated, Piece
from paceline.client.messages import Embeddings
from paceline.client.retries import Retries

__all__ = ["Answer", "AsyncClient", "Client", "Embeddings", "Generated", "Piece", "Retries"]
