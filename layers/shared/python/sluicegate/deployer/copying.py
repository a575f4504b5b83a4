"""Where Lambda takes the code from: the stack's bucket, or a copy of the artifact in the target's own.

Lambda reads only from a bucket in its region ("S3Bucket", Lambda API reference, UpdateFunctionCode).
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Final

from botocore.exceptions import ClientError

from sluicegate.aws.s3 import MAX_SIZE, Artifacts, StoredArtifact
from sluicegate.deployer import refusals
from sluicegate.deployer.target import Targets
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.outcomes import Outcome, PermanentFailure, TransientFailure

COPY_SECONDS: Final = 40
"""Seconds within which an artifact must be read. The deployer's timeout leaves as many to write it."""

CHUNK: Final = 1_048_576
"""Bytes that are held in memory: the artifact itself waits on the disk."""


@dataclass(frozen=True)
class CodeLocation:
    """An object with the accepted digest, in a bucket that Lambda can read from. See `StoredArtifact`."""

    bucket: str
    version: str | None


@dataclass(frozen=True)
class CodeSource:
    """Finds the code of a deployment, and copies it where it has to be.

    What was copied stays for later deployments, until the bucket's lifecycle deletes it.
    """

    artifacts: Artifacts
    targets: Targets
    clock: Callable[[], float] = time.time

    def locate(self, deployment: Deployment) -> CodeLocation | Outcome:
        """Return where Lambda finds the code. May copy it there first, and may run twice.

        guarantees.md#1-only-accepted-code
        """
        bucket = self.targets.access(deployment).bucket
        if bucket is None:
            return _location(self.artifacts, find_artifact(self.artifacts, deployment))
        try:
            found = bucket.find(deployment.function, deployment.sha256)
        except ClientError as error:
            return _refused(error, deployment, bucket)
        if found is None:
            return self._copy(deployment, bucket)
        return _location(bucket, _checked(found, deployment, bucket))

    def find_problem(self, deployment: Deployment) -> Outcome | None:
        """Return why `locate` would fail, as far as that can be seen without copying anything."""
        bucket = self.targets.access(deployment).bucket
        if bucket is not None:
            try:
                found = bucket.find(deployment.function, deployment.sha256)
                if found is None:
                    bucket.check()
            except ClientError as error:
                return _refused(error, deployment, bucket)
            if found is not None:
                return _problem(_checked(found, deployment, bucket))
        return _problem(find_artifact(self.artifacts, deployment))

    def _copy(self, deployment: Deployment, bucket: Artifacts) -> CodeLocation | Outcome:
        source = find_artifact(self.artifacts, deployment)
        if not isinstance(source, StoredArtifact):
            return source
        with tempfile.TemporaryFile() as file:
            if failure := self._read(deployment, source, file):
                return failure
            file.seek(0)
            writer = self.targets.writer(deployment)
            try:
                writer.write(deployment.function, deployment.sha256, file)
                # Maybe it is another deployment's, or this one's, whose answer was lost.
                copied = bucket.find(deployment.function, deployment.sha256)
            except ClientError as error:
                return _refused(error, deployment, bucket)
        if copied is None:
            return TransientFailure("CopyMissing", "the copy of the artifact was deleted just now")
        return _location(bucket, _checked(copied, deployment, bucket))

    def _read(self, deployment: Deployment, source: StoredArtifact, file: IO[bytes]) -> Outcome | None:
        """Write the artifact to the file, and compare its digest with the accepted one."""
        ends_at, size, digest = self.clock() + COPY_SECONDS, 0, hashlib.sha256()
        with closing(self.artifacts.open(deployment.function, deployment.sha256, source.version)) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > MAX_SIZE:
                    return PermanentFailure("artifact_mismatch", "the stored artifact is larger than any")
                if self.clock() > ends_at:
                    message = f"the artifact could not be read within {COPY_SECONDS} s"
                    return TransientFailure("CopyTimeout", message)
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != deployment.sha256:
            return PermanentFailure("artifact_mismatch", "the stored artifact does not have its own digest")
        return None


def find_artifact(artifacts: Artifacts, deployment: Deployment) -> StoredArtifact | PermanentFailure:
    """Return the stored artifact with the accepted digest, or why there is none."""
    artifact = artifacts.find(deployment.function, deployment.sha256)
    if artifact is None:
        message = f"artifact {deployment.sha256} was not uploaded"
        if deployment.action == "promote":
            message = f"artifact {deployment.sha256} has expired: deploy its commit again"
        return PermanentFailure("artifact_not_found", message)
    if artifact.sha256 != deployment.sha256:
        message = "the checksum of the stored artifact does not match its name"
        return PermanentFailure("artifact_mismatch", message)
    return artifact


def _checked(
    copy: StoredArtifact, deployment: Deployment, bucket: Artifacts
) -> StoredArtifact | PermanentFailure:
    """Return the copy, if S3's own checksum of it is the accepted digest."""
    if copy.sha256 == deployment.sha256:
        return copy
    message = (
        f"s3://{bucket.bucket}/{deployment.function}/{deployment.sha256}.zip has another digest than its"
        " name: find out who wrote it"
    )
    return PermanentFailure("artifact_mismatch", message)


def _location(bucket: Artifacts, found: StoredArtifact | PermanentFailure) -> CodeLocation | PermanentFailure:
    return CodeLocation(bucket.bucket, found.version) if isinstance(found, StoredArtifact) else found


def _problem(found: StoredArtifact | PermanentFailure) -> PermanentFailure | None:
    return found if isinstance(found, PermanentFailure) else None


def _refused(error: ClientError, deployment: Deployment, bucket: Artifacts) -> Outcome:
    """Return what an error of the target's bucket means. Raises it again where that is nothing special."""
    outcome = refusals.of_bucket(error, deployment.plan, bucket.bucket)
    if outcome is None:
        raise error
    return outcome
