"""The load generator itself: sockets, pacing and clocks, one process a worker. It measures; it judges nothing."""
