"""The lifecycle: one module a verb, the engine that runs them, the planner, the look."""
