"""Gates: proof, before any side effect, that an operation can succeed."""
