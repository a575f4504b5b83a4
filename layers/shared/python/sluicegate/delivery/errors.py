"""What can become of something that is sent: nothing yet, nothing before somebody acts, or nothing ever."""


class TransientError(Exception):
    """The request may or may not have taken effect. Retry it after `retry_after` seconds or later."""

    def __init__(self, code: str, retry_after: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after


class PermanentError(Exception):
    """The request had no effect, and a retry fails until somebody fixes what `code` and `detail` describe."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class UndeliverableError(Exception):
    """The other side can never show this, whatever anybody does. The request had no effect."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
