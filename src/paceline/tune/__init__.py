"""Tuning: measure a little, simulate a lot on the same scheduling code, prove a handful live, apply one."""
