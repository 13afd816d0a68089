"""Thin drivers of programs we don't own."""
