"""The environment file: its model, its layers, interpolation, and the settings of its app."""
