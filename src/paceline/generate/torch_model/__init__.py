"""The Llama family in plain torch: twin of the compiled kernels, fallback on other processors, and the way to a GPU."""
