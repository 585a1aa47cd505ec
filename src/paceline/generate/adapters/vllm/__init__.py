"""vLLM's asynchronous engine, behind `Generator`."""
