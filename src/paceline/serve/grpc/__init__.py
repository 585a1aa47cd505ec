"""Vectors over gRPC, with the names and numbers of Pinecone's data plane: an extra, `pip install 'paceline[grpc]'`."""
