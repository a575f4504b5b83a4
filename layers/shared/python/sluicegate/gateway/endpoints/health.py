"""`GET /health`."""

from sluicegate import __version__
from sluicegate.gateway.http import ApiResponse


def read() -> ApiResponse:
    """Answer without a credential, and say nothing but that the gateway answers."""
    return ApiResponse(200, {"status": "ok", "version": __version__}, (f"ok {__version__}",))
