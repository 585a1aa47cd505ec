"""Those that are measured: one file for each library or product, which is imported only when it takes part."""
