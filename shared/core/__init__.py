"""Decisions as data: pure functions and value types, no clock, no environment, no input or output."""
