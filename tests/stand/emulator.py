"""The AWS emulator: started with IAM enforced, and asked what only it knows."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import httpx2

from stand import places, processes
from stand.processes import HOST, Process

ACCOUNT: Final = "111111111111"
REGION: Final = "eu-central-1"
OTHER_ACCOUNT: Final = "222222222222"
OTHER_REGION: Final = "eu-west-1"
STRANGER: Final = "333333333333"
"""An account outside the organisation."""

ORGANISATION: Final = "o-a1b2c3d4e5"
SECRET: Final = "stand"
"""Not checked: a 12-digit access key id is that account's administrator."""


@dataclass(frozen=True)
class Emulator:
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> Process:
        """Start it in the background; `answers` says when it is ready."""
        scratch = places.scratch()
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        places.API_ID.unlink(missing_ok=True)
        places.CALLS.unlink(missing_ok=True)
        launcher = Path(__file__).parent / "launch_emulator.py"
        return processes.start(
            [places.EMULATOR_PYTHON, "-I", launcher],
            log=places.EMULATOR_LOG,
            env=self._environment(scratch),
            cwd=scratch,
        )

    def _environment(self, scratch: Path) -> dict[str, str]:
        """Nothing of the caller's own: functions get all of it."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "CLOUDTRAIL_RECORDING": "1",
            "STAND_API_FILE": str(places.API_ID),
            "STAND_CALLS_FILE": str(places.CALLS),
            "STAND_ORGANISATIONS": json.dumps({ACCOUNT: ORGANISATION, OTHER_ACCOUNT: ORGANISATION}),
        }

    def answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/_ministack/health", timeout=2, trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def client(
        self,
        service: str,
        *,
        access_key: str = ACCOUNT,
        secret_key: str = SECRET,
        token: str | None = None,
        region: str = REGION,
    ) -> Any:
        """A client of one service: as the account's administrator, unless credentials are given.

        An account's 12 digits as access key are its administrator. Made once, for making one takes longer
        than most calls; clients may be shared between threads.
        """
        return _client(self.url, service, access_key, secret_key, token, region)

    def expire(self, access_key: str) -> None:
        """Let the time of a session be over: the shortest lasts 900 seconds."""
        httpx2.post(f"{self.url}/_stand/expire/{access_key}", timeout=5, trust_env=False).raise_for_status()

    def environment(self) -> dict[str, str]:
        """The caller's environment with every AWS setting of it replaced, for sam and whatever else signs."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "SAM_CLI", "SLUICEGATE_")) and not name.lower().endswith("_proxy")
        }
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@lru_cache(maxsize=64)  # each takes 10 MB, and the tests of roles make hundreds
def _client(url: str, service: str, access_key: str, secret_key: str, token: str | None, region: str) -> Any:
    import boto3  # here, for it takes most of a second and most commands need none
    from botocore.config import Config

    session: Any = boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        region_name=region,
    )
    once = Config(retries={"total_max_attempts": 1}, proxies={}, max_pool_connections=50)
    return session.client(service, endpoint_url=url, config=once)


def workers(function: str) -> list[int]:
    """The process ids of a function's warm workers (by the directory each one runs in)."""
    listed = subprocess.run(
        ["ps", "-Awwo", "pid=,stat=,args="], capture_output=True, text=True, check=False
    ).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    marker = f"{places.scratch()}/ministack-lambda-{function}-"
    return [int(pid) for pid, stat, arguments in rows if marker in arguments and not stat.startswith("Z")]
