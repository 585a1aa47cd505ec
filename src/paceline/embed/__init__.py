"""Text embeddings: model folders, tokenisers, engines, layout, and the service that joins them."""
