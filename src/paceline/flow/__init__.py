"""Flow control: batching, admission, limits, breakers, retries, caches. Knows no model and no HTTP."""
