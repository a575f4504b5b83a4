"""The keys of every item in the table.

    pk                                    sk           item
    deployment#ID                         record       the deployment; the truth about it
    deployment#ID                         wait         the task token of its rollout, while that waits
    deployment#ID                         identity     the requester's claims, where an approval needs them
    request#HASH                          request      (caller, key) -> deployment, fingerprint; or -> hold
    token#HASH                            token        (token or session, target, function, alias) ->
                                                       deployment
    lock#ACCOUNT#REGION#FUNCTION          publish      the deployment that publishes this function (lease)
    lock#ACCOUNT#REGION#FUNCTION          alias#ALIAS  the deployment that moves this alias, and its successor
    versions#ACCOUNT#REGION#FUNCTION      SHA256       the version published from this digest
    versions#ACCOUNT#REGION#FUNCTION      published#V  a version that Sluicegate published, and when
    versions#ACCOUNT#REGION#FUNCTION      gone#VERSION a version that no longer exists, or is condemned
    artifact#FUNCTION                     SHA256#HASH  the job that announced it, and for which commit
    commit#FUNCTION#HASH                  SHA256       what was announced for (issuer, project, commit), and
                                                       again for these with the ref
    tag#HASH                              tag          (webhook, tag) -> the commit that it was deployed at
    serving                               FUNCTION#... what each alias serves, as far as Sluicegate moved it
    served#ACCOUNT#REGION#FUNCTION#ALIAS  VERSION      a version that succeeded there; is it withdrawn?
    found#ACCOUNT#REGION#FUNCTION#ALIAS   VERSION      a version that somebody else had made it serve
    newest-pipeline#ACCOUNT#REGION#...    OWNER        the newest pipeline of a project that succeeded there
    hold#STAGE                            RULE         that a rule holds its functions in the stage, and why
    held#STAGE                            holds        a list of these, for acceptances
    uploads#HASH                          count        what a credential, or an owner in an hour, announced
    limit#HASH                            NUMBER       a slot of a rule's limit, and when it was taken last
    cursor-key                            key          the key that seals cursors
    poll#POOL#NUMBER                      poll         a place for a long poll, and its lease
    message#ID                            NAME         what an entry of `notify` was sent (`messages`)
    status#HASH, status#ID                             what GitLab was sent (`notifier.ledger`), and what
                                                       it says of a commit (`store.commits`)
    session#USER                          HASH         a person's session: who, since when, until when
    login#HASH                            ticket       a sign-in that has begun, of one browser
    grant#HASH                            ticket       a session that a person gives to a terminal
    intent#HASH                           ticket       one action on the board, shown and not yet done
    fact#ID, fact#hold#ID                 REVISION#... a line of the evidence (`evidence.facts`)
    fact#refused#HASH                     HOUR#NUMBER  the line of a refusal
    fact#refusals#HASH                    HOUR         how often one caller was refused for one reason
    fact#sign-in#HASH                     SESSION#...  a line about a person's sessions (`evidence.sign_ins`)
    fact#sign-ins#HASH                    HOUR         how many of these there were of one person
    fact#gate                             DIGEST       the line of a gate file
    evidence                              LOG          the head of the sealed lines, and those sealed last
    budget#ACCOUNT#REGION                 bucket       the calls taken of a control plane's budget
    budget#ACCOUNT#REGION                 wait#ID      a deployment in line for it
    drift                                 FUNCTION#... what somebody else changed about an alias
    drift-pass                            pass         how far the look for drift has come
    pruning                               FUNCTION#... which old versions go, and why the others stay
    condemned                             FUNCTION#... a version that is being deleted
    prune-pass                            pass         how far the pruner has come

    index         attributes      items
    by_function   function, id    the deployments of a function, by time
    by_project    project, id     the deployments of an owner, by time
    by_time       kind, id        all deployments, by time
    unfinished    unfinished, due the deployments that are not final, in short, by when they are looked at
    watching      watching, id    the alarms of deployments that look at some, by account and region
    unsealed      unsealed, at    the facts that are not sealed, by time

No other item has `function`, `kind`, `unfinished`, `watching` or `unsealed`. What aliases serve is in
`by_project` too, by `sk`, under a key of its own (`serving_by`). Locks carry account and region
(guarantees.md#2-one-deployment-at-a-time).
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.ordering import ordered_by
from sluicegate.deployment.plan import Target
from sluicegate.owner import Owner

Key = dict[str, str]
"""The primary key of an item: `pk` and `sk`."""

ALL_DEPLOYMENTS: Final = "deployment"
"""The key of all deployments in the index `by_time`: their `kind`."""

UNFINISHED: Final = "yes"
"""The one key of the index `unfinished`."""

DRIFT: Final = "drift"
"""The one partition of drift: few aliases have any, and the board reads all of it."""

UNSEALED: Final = "yes"
"""The one key of the index `unsealed`."""


def digest(*parts: str | None) -> str:
    """Return the SHA-256 of the parts, unambiguously: a key of fixed length from values of any length."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def owner_key(owner: Owner) -> str:
    """Return the index key of an owner: always with its issuer or account, and no two of one key."""
    kind = "" if owner.kind == "project" else f"{owner.kind}#"
    return f"{kind}{owner.id}@{owner.realm}"


def record(deployment_id: str) -> Key:
    """The deployment itself."""
    return {"pk": f"deployment#{deployment_id}", "sk": "record"}


def wait(deployment_id: str) -> Key:
    """The rollout's task token."""
    return {"pk": f"deployment#{deployment_id}", "sk": "wait"}


def identity(deployment_id: str) -> Key:
    """The requester's verified claims."""
    return {"pk": f"deployment#{deployment_id}", "sk": "identity"}


def request(request_key: str) -> Key:
    """An accepted request."""
    return {"pk": f"request#{request_key}", "sk": "request"}


def use(use_key: str) -> Key:
    """The one use of a token or a session."""
    return {"pk": f"token#{use_key}", "sk": "token"}


def tag(tag_key: str) -> Key:
    """The commit of a webhook's tag."""
    return {"pk": f"tag#{tag_key}", "sk": "tag"}


def publish_lock(target: Target, function: str) -> Key:
    """The right to publish a function."""
    return {"pk": f"lock#{target.account}#{target.region}#{function}", "sk": "publish"}


def locks_partition(target: Target, function: str) -> str:
    """All locks of a function."""
    return f"lock#{target.account}#{target.region}#{function}"


def alias_lock(target: Target, function: str, alias: str) -> Key:
    """The right to move an alias."""
    return {"pk": locks_partition(target, function), "sk": f"alias#{alias}"}


def published(target: Target, function: str, sha256: str) -> Key:
    """The version that was published from a digest."""
    return {"pk": f"versions#{target.account}#{target.region}#{function}", "sk": sha256}


def published_version(target: Target, function: str, version: str) -> Key:
    """A version that Sluicegate published, whatever was published from its digest since."""
    return {"pk": versions_partition(target, function), "sk": f"published#{version}"}


def versions_partition(target: Target, function: str) -> str:
    """All that is known of a function's versions."""
    return f"versions#{target.account}#{target.region}#{function}"


def gone(target: Target, function: str, version: str) -> Key:
    """A version that no longer exists."""
    return {"pk": versions_partition(target, function), "sk": f"gone#{version}"}


def found(target: Target, function: str, alias: str, version: str) -> Key:
    """A version that somebody else had made an alias serve."""
    return {"pk": found_partition(target, function, alias), "sk": version}


def found_partition(target: Target, function: str, alias: str) -> str:
    """All versions that somebody else had made an alias serve."""
    return f"found#{target.account}#{target.region}#{function}#{alias}"


def served(target: Target, function: str, alias: str, version: str) -> Key:
    """A version that succeeded behind an alias."""
    return {"pk": served_partition(target, function, alias), "sk": version}


def served_partition(target: Target, function: str, alias: str) -> str:
    """All versions that succeeded behind an alias."""
    return f"served#{target.account}#{target.region}#{function}#{alias}"


def serving(target: Target, function: str, stage: str, alias: str) -> Key:
    """What an alias serves. All aliases are in one partition, sorted by function."""
    return {"pk": "serving", "sk": "#".join((function, stage, target.account, target.region, alias))}


def watching(target: Target) -> str:
    """The key in `watching` of an account's region."""
    return f"{target.account}#{target.region}"


def serving_by(owner: Owner) -> str:
    """The key in `by_project` of what aliases serve by deployments of an owner."""
    return f"serving#{owner_key(owner)}"


def newest_pipeline(deployment: Deployment) -> Key:
    """The newest pipeline of the deployment's project that succeeded behind its alias."""
    target = deployment.plan.target
    pk = f"newest-pipeline#{target.account}#{target.region}#{deployment.function}#{deployment.plan.alias}"
    return {"pk": pk, "sk": owner_key(ordered_by(deployment).owner)}


def upload_count(counted: str) -> Key:
    """What a token or a session, or an owner in an hour, has announced to upload."""
    return {"pk": f"uploads#{counted}", "sk": "count"}


def limit_partition(rule: str, subject: Sequence[str], seconds: int) -> str:
    """All slots of one rule, for one project or principal, in a window of so many seconds."""
    return f"limit#{digest(rule, *subject, str(seconds))}"


def sessions_partition(user: str) -> str:
    """All sessions of a person; `user` is a digest of issuer and id."""
    return f"session#{user}"


def session(user: str, secret_hash: str) -> Key:
    """A session, by the hash of its secret."""
    return {"pk": sessions_partition(user), "sk": secret_hash}


def ticket(kind: str, secret_hash: str) -> Key:
    """Something that is done once, for the holder of a secret."""
    return {"pk": f"{kind}#{secret_hash}", "sk": "ticket"}


def cursor_key() -> Key:
    """The key that seals cursors."""
    return {"pk": "cursor-key", "sk": "key"}


def poll(pool: str, number: int) -> Key:
    """A place for a long poll, of the places that functions share."""
    return {"pk": f"poll#{pool}#{number}", "sk": "poll"}


def refusals(subject: str, hour: str) -> Key:
    """The number of refusals of a subject, a digest of caller and reason, in an hour."""
    return {"pk": f"fact#refusals#{subject}", "sk": hour}


def sign_ins(subject: str, hour: str) -> Key:
    """The number of facts about a person's sessions, of one kind, in an hour."""
    return {"pk": f"fact#sign-ins#{subject}", "sk": hour}


def call_budget(target: Target) -> str:
    """The budget of a target's control plane, and all that are in line for it."""
    return f"budget#{target.account}#{target.region}"


def call_bucket(target: Target) -> Key:
    """What was taken of the budget."""
    return {"pk": call_budget(target), "sk": "bucket"}


def call_waiter(target: Target, deployment_id: str) -> Key:
    """A deployment in line."""
    return {"pk": call_budget(target), "sk": f"wait#{deployment_id}"}


def evidence_head(log: str) -> Key:
    """The head of a log."""
    return {"pk": "evidence", "sk": log}


def drift(target: Target, function: str, alias: str) -> Key:
    """The drift of an alias, or with empty names of a place that lets nobody look; by function."""
    return {"pk": DRIFT, "sk": "#".join((function, target.account, target.region, alias))}


def drift_pass() -> Key:
    """How far the look for drift has come."""
    return {"pk": "drift-pass", "sk": "pass"}


def pruning(target: Target, function: str) -> Key:
    """What the pruner found out about a function's versions. All are in one partition, by function."""
    return {"pk": "pruning", "sk": "#".join((function, target.account, target.region))}


def condemned(target: Target, function: str, version: str) -> Key:
    """A version that is being deleted. All are in one partition: there are few at a time."""
    return {"pk": "condemned", "sk": "#".join((function, target.account, target.region, version))}


def prune_pass() -> Key:
    """How far the pruner has come."""
    return {"pk": "prune-pass", "sk": "pass"}


def hold(stage: str, rule: str) -> Key:
    """The hold that a rule put on a stage."""
    return {"pk": holds_partition(stage), "sk": rule}


def holds_partition(stage: str) -> str:
    """All holds of a stage."""
    return f"hold#{stage}"


def hold_list(stage: str) -> Key:
    """The list of a stage's holds."""
    return {"pk": f"held#{stage}", "sk": "holds"}


def artifact(function: str, sha256: str, owner: str) -> Key:
    """An announced artifact; `owner` is a digest of the job that announced it."""
    return {"pk": artifacts_partition(function), "sk": f"{sha256}#{owner}"}


def artifacts_partition(function: str) -> str:
    """All announced artifacts of a function."""
    return f"artifact#{function}"


def commit_partition(function: str, issuer: str, project_id: str, sha: str) -> str:
    """All artifacts of a commit. The sort key is the artifact's SHA-256."""
    return f"commit#{function}#{digest(issuer, project_id, sha)}"


def ref_partition(function: str, issuer: str, project_id: str, sha: str, ref_type: str, ref: str) -> str:
    """Those that jobs of one branch or tag announced."""
    return f"commit#{function}#{digest(issuer, project_id, sha, ref_type, ref)}"
