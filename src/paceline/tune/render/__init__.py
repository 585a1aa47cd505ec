"""A tune report as a page and on a terminal, and the tune itself while it runs."""
