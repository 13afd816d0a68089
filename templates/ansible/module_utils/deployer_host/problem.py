"""The one exception that reaches the user."""


class HostProblem(Exception):
    """Something that a user can understand and mend. `code` is one of deployer's error codes."""

    def __init__(self, code, message, hint="", output=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.output = output or []

    @classmethod
    def of(cls, error):
        """The problem that an `OSError` is."""
        place = ": %s" % error.filename if error.filename else ""
        return cls("HOST_FAILED", "%s%s" % (error.strerror or error, place))

    def answer(self):
        """As Ansible and calls over SSH take it."""
        return {
            "msg": self.message,
            "problem": {"code": self.code, "hint": self.hint, "output": self.output},
        }
