"""A client of the HTTP API, blocking and asynchronous, with the same names, errors and limits of patience."""

from paceline.client.async_collection import AsyncCollection
from paceline.client.asynchronous import AsyncClient
from paceline.client.blocking import Client
from paceline.client.collection import Collection
from paceline.client.generation import Answer, Generated, Piece
from paceline.client.messages import Embeddings
from paceline.client.retries import Retries
from paceline.client.vectors import HttpVectors

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncCollection",
    "Client",
    "Collection",
    "Embeddings",
    "Generated",
    "HttpVectors",
    "Piece",
    "Retries",
]
