"""The one exception that reaches the user."""


class HostProblem(Exception):
    """Something that a user can understand and mend. `code` is one of deployer's error codes."""

    def __init__(self, code, message, hint="", output=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.output = output or []
