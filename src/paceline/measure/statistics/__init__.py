"""What the samples of a run say, and how surely: autocorrelated samples are never treated as independent ones."""
