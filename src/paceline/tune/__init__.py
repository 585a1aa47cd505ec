"""Finds the settings that hold an objective at the least cost, and proves them live."""
