"""Loads with a name: TOML files, the presets among them, and the same for k6."""
