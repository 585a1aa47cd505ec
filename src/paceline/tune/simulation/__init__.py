"""A server on virtual time: the real queue, gate, limiter and cache, with a formula in place of the engine."""
