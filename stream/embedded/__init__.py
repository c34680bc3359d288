"""Servers that a machine with only Python can run: for the demo and the tests, never for production."""
