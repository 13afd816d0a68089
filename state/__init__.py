"""What is remembered: the state machine, the store and the lease. Imports neither other package."""
