"""A listener that a job's ID token must never reach, and an API that it may reach, with TLS."""

import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RIGHT, WRONG = "127.0.0.2", "127.0.0.1"
"""The API's address, which `--noproxy localhost,127.0.0.1` does not cover, and the thief's."""


@dataclass
class Server:
    """A server on loopback that keeps all that it receives."""

    url: str
    ca: Path
    received: list[str] = field(default_factory=list)
    """Each request whole: its line, its headers and its body."""

    @property
    def address(self) -> str:
        return self.url.split("/")[2]


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for loopback that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(host)) for host in (RIGHT, WRONG)]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, private = directory / f"{name}.pem", directory / f"{name}.key"
    ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ca, private


@contextmanager
def serve(
    directory: Path, name: str, host: str, headers: dict[str, str], *, tls: bool, answer: str = ""
) -> Iterator[Server]:
    """Answers every request with 200 and this; also as a proxy that pretends to be the target."""
    ca, private = certificate(directory, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, private)
    server = Server("", ca)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            server.received.append(f"{self.requestline}\n{self.headers}")
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.request = context.wrap_socket(self.request, server_side=True)
                self.setup()

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            server.received.append(f"{self.requestline}\n{self.headers}\n{body.decode(errors='replace')}")
            self.send_response(200)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: the test says what is of interest."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that does not trust the certificate hangs up."""

    with Quiet((host, 0), Handler) as http:
        if tls:
            http.socket = context.wrap_socket(http.socket, server_side=True)
        server.url = f"http{'s' if tls else ''}://{host}:{http.server_address[1]}/v1"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield server
        http.shutdown()
