"""Segments against a reference."""
