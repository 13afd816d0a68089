"""Commands that compose verbs."""
