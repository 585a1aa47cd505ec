"""Load generation, statistics and reports: latency and throughput that can be trusted, of any HTTP service."""
