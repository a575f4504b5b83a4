"""`make crosscheck`: the contract's cases (tests/contract) against an emulator of another family, LocalEmu.

It binds every address of the machine, whichever it is given, so it runs in a network namespace of its own,
with the tests beside it. Exit codes: pytest's own; 3 where it is not available here.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from stand import bootstrap, places, processes
from stand.processes import HOST
from stand.say import StandError

ENVIRONMENT: Final = places.ROOT / ".stand" / "crosscheck"
LOCK: Final = places.ROOT / "requirements" / "crosscheck.txt"
PORT: Final = 4566
UNAVAILABLE: Final = 3
INSIDE: Final = "inside"
"""The argument of the process in the namespace."""


def main() -> int:
    if sys.argv[1:] == [INSIDE]:
        return inside()
    isolated = ["unshare", "--net", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
    if why := unavailable(isolated):
        print(f"crosscheck is not available here: {why}", file=sys.stderr)
        return UNAVAILABLE
    command = [*isolated, sys.executable, "-m", "stand.crosscheck", INSIDE]
    return subprocess.run(command, cwd=places.ROOT, check=False).returncode


def unavailable(isolated: list[str]) -> str | None:
    """Set up the environment; return why there can be none, or None."""
    if shutil.which("unshare") is None:
        return "there is no `unshare` (util-linux)"
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed (`unshare --net` fails)"
    interpreter = bootstrap.lambda_python()
    if bootstrap.version_of(interpreter) != bootstrap.LAMBDA:
        return f"LocalEmu needs Python {bootstrap.dotted(bootstrap.LAMBDA)}, and there is none"
    stamp = bootstrap.stamp_of(LOCK, interpreter=interpreter)
    if bootstrap.is_stamped(ENVIRONMENT, stamp):
        return None
    bootstrap.say(f"setting up LocalEmu with {interpreter}")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    try:
        bootstrap.uv("venv", "--no-python-downloads", "--python", interpreter, ENVIRONMENT)
        python = ENVIRONMENT / "bin" / "python"
        bootstrap.uv("pip", "install", "--python", python, "--require-hashes", "-r", LOCK)
    except subprocess.CalledProcessError:
        return "LocalEmu cannot be installed from the package index"
    bootstrap.write_stamp(ENVIRONMENT, stamp)
    return None


def inside() -> int:
    """Start LocalEmu and run the cases, in a namespace that has nothing but its own loopback."""
    bring_up_loopback()
    with tempfile.TemporaryDirectory(prefix="sluicegate-crosscheck-") as scratch:
        log = places.ROOT / ".stand" / "crosscheck.log"
        log.unlink(missing_ok=True)
        launcher = Path(__file__).parent / "launch_localemu.py"
        emulator = processes.start(
            [ENVIRONMENT / "bin" / "python", "-I", launcher],
            log=log,
            env=environment(Path(scratch)),
            cwd=Path(scratch),
        )
        try:
            processes.wait_until(answers, emulator, what="LocalEmu", log=log, patience=240)
            tests = [sys.executable, "-m", "pytest", "tests/contract", "-p", "no:cacheprovider", "-rx"]
            endpoint = {"CONTRACT_ENDPOINT": f"http://{HOST}:{PORT}"}
            return subprocess.run(tests, env={**os.environ, **endpoint}, check=False).returncode
        except StandError as error:
            print(f"crosscheck is not available here: {error}", file=sys.stderr)
            return UNAVAILABLE
        finally:
            processes.stop(emulator)


def environment(scratch: Path) -> dict[str, str]:
    """Return LocalEmu's environment: nothing of the caller's own, and no call to the outside."""
    volume = scratch / "volume"
    volume.mkdir()
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "FILESYSTEM_ROOT": str(volume),
        "LOCALEMU_VOLUME_DIR": str(volume),
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
    }


def answers() -> bool:
    try:
        with socket.create_connection((HOST, PORT), timeout=1) as connection:
            connection.sendall(b"GET /_localemu/health HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def bring_up_loopback() -> None:
    """Set the flags IFF_UP and IFF_RUNNING of `lo` (netdevice(7))."""
    set_flags, flags = 0x8914, 0x1 | 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", flags))


if __name__ == "__main__":
    sys.exit(main())
