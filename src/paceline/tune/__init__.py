"""Tuning: calibrate, simulate thousands of settings, prove a handful live, apply one."""
