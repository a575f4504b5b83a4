"""`GET /health`."""

from sluicegate import __version__
from sluicegate.gateway.http import GatewayResponse


def read() -> GatewayResponse:
    """Answer without a credential, and say nothing but that the gateway answers."""
    return GatewayResponse(200, {"status": "ok", "version": __version__}, (f"ok {__version__}",))
