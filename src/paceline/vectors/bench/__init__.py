"""Paceline's collections measured beside other libraries and products, on the user's own vectors."""
