"""One command a verb."""
