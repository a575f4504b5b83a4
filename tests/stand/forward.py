"""Forward a port of another local address to loopback, for containers, as long as a block runs."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stand.processes import HOST


@contextmanager
def forwarded(address: str, port: int) -> Iterator[None]:
    """Take connections at `address:port` and pass them on to the same port of loopback."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((HOST, port)) as onward:
                there = threading.Thread(target=pipe, args=(self.request, onward), daemon=True)
                there.start()
                pipe(onward, self.request)
                there.join()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server((address, port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def pipe(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side ends, and tell the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
