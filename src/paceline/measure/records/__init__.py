"""What a run leaves behind, on disk and in the store of runs."""
