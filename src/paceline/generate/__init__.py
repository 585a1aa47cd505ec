"""Text generation: an engine of our own with paged keys and values, and adapters to others."""
