"""Artifacts that callers announced: by whom, and for which commit."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Final

from sluicegate.owner import Owner
from sluicegate.store import keys
from sluicegate.store.keys import Key, digest
from sluicegate.store.requests import LONGEST_SESSION
from sluicegate.store.table import Condition, Table

MAX_UPLOADS_OF_CREDENTIAL: Final = 64
MAX_BYTES_OF_CREDENTIAL: Final = 2 * 1024**3
MAX_UPLOADS_OF_OWNER: Final = 500
MAX_BYTES_OF_OWNER: Final = 20 * 1024**3
"""How many uploads, and bytes, a token or a session may announce, and an owner in an hour."""


@dataclass(frozen=True)
class Upload:
    """An artifact that a caller may upload. `ref` and `sha` are those of its job, "" where it has none."""

    function: str
    sha256: str
    size: int
    owner: Owner
    ref: str
    sha: str
    ref_type: str = ""
    pipeline: int = 0


@dataclass(frozen=True)
class Announcer:
    """Who announced an artifact, and for which commit."""

    function: str
    sha256: str
    owner: Owner
    ref: str
    sha: str

    @property
    def key(self) -> Key:
        """The key of the announcement."""
        owner = self.owner
        by = digest(owner.kind, owner.realm, owner.id, self.ref, self.sha)
        return keys.artifact(self.function, self.sha256, by)


@dataclass(frozen=True)
class Announcement:
    """An artifact that was announced for a commit, and the newest pipeline whose jobs did so.

    `pipeline` is as their tokens proved it; 0 in announcements of earlier releases.
    """

    sha256: str
    pipeline: int


_OF_CREDENTIAL: Final = {"uploads": MAX_UPLOADS_OF_CREDENTIAL, "size": MAX_BYTES_OF_CREDENTIAL}

MAX_READ: Final = 1_000
"""Announcements of one commit that are read, so that nobody can make a delivery read any number."""


class Uploads:
    """Announced artifacts, by function and by commit."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def add(self, upload: Upload) -> None:
        """Note who announced an artifact, and for which commit. Twice is once."""
        owner = upload.owner
        key = Announcer(upload.function, upload.sha256, owner, upload.ref, upload.sha).key
        created = {"created_at": int(self._clock())}
        item = {**key, **created, **asdict(upload)}
        # `function` is the key of an index of deployments; an upload must not appear there.
        item.pop("function")
        self._table.put(item)
        if upload.sha and owner.kind == "project":
            commit = (upload.function, owner.realm, owner.id, upload.sha)
            for pk in (
                keys.commit_partition(*commit),
                keys.ref_partition(*commit, upload.ref_type, upload.ref),
            ):
                # A retried job of an older pipeline must not make the announcement older.
                unless_newer = Condition(
                    "attribute_not_exists(pk) OR attribute_not_exists(pipeline) OR pipeline <= :mine",
                    {":mine": upload.pipeline},
                )
                changes = {**created, "pipeline": upload.pipeline}
                self._table.update({"pk": pk, "sk": upload.sha256}, changes, unless_newer)

    def count_for_token(self, issuer: str, jti: str, size: int, expires: int) -> bool:
        """Count an upload of a token's; return False if it has announced too much."""
        return self._count(digest("token", issuer, jti), size, _OF_CREDENTIAL, expires)

    def count_for_session(self, account: str, access_key: str, size: int) -> bool:
        """Count an upload of a session's; return False if it has announced too much."""
        expires = int(self._clock()) + LONGEST_SESSION
        return self._count(digest("session", account, access_key), size, _OF_CREDENTIAL, expires)

    def count_for_owner(self, owner: Owner, size: int) -> bool:
        """Count an upload of an owner's in this hour; return False if it has announced too much."""
        hour = int(self._clock()) // 3_600
        limits = {"uploads": MAX_UPLOADS_OF_OWNER, "size": MAX_BYTES_OF_OWNER}
        counted = digest(owner.kind, owner.realm, owner.id, str(hour))
        return self._count(counted, size, limits, (hour + 1) * 3_600)

    def _count(self, counted: str, size: int, limits: Mapping[str, int], expires: int) -> bool:
        key = keys.upload_count(counted)
        return self._table.count(key, {"uploads": 1, "size": size}, limits, expires + 3_600)

    def is_registered(self, function: str, sha256: str) -> bool:
        """Say whether a job announced this digest for this function."""
        partition = keys.artifacts_partition(function)
        condition = Condition("pk = :pk AND begins_with(sk, :sk)", {":pk": partition, ":sk": f"{sha256}#"})
        return any(True for _ in self._table.query(condition, consistent=True, page=1))

    def of_ref(
        self, function: str, issuer: str, project_id: str, sha: str, ref_type: str, ref: str
    ) -> list[Announcement]:
        """Return what jobs of a branch or tag announced for a commit, the newest first."""
        return self._announced(keys.ref_partition(function, issuer, project_id, sha, ref_type, ref))

    def of_commit(self, function: str, issuer: str, project_id: str, sha: str) -> list[Announcement]:
        """Return what jobs of the project announced for a commit, the newest first."""
        return self._announced(keys.commit_partition(function, issuer, project_id, sha))

    def _announced(self, partition: str) -> list[Announcement]:
        items = self._table.query(Condition("pk = :pk", {":pk": partition}), consistent=True)
        found = sorted(
            islice(items, MAX_READ), key=lambda item: (item["created_at"], item["sk"]), reverse=True
        )
        return [Announcement(item["sk"], item.get("pipeline", 0)) for item in found]
