"""Say of a version who built it, and of an alias what somebody else made it serve."""

from dataclasses import dataclass, replace

from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployer.lookups import read_found
from sluicegate.deployer.publish import PublishResult
from sluicegate.deployer.turn import Turn
from sluicegate.deployment.model import AliasState, Deployment, Origin, origin_of
from sluicegate.rollout.outcomes import Published
from sluicegate.store.deployments import Deployments
from sluicegate.store.versions import PublishedVersion, Versions


@dataclass(frozen=True)
class Origins:
    """Adds to an outcome what the record and Lambda know beyond the version itself."""

    versions: Versions
    deployments: Deployments

    def describe(
        self, deployment: Deployment, function: FunctionApi, result: PublishResult, turn: Turn
    ) -> PublishResult:
        """Return the result with the version's origin, and with what was found behind the alias.

        The origin is the request for which a version was published first: the same bytes, deployed again for
        another commit, are still that version. Nobody is known to have built what somebody else published.
        """
        outcome, published = result.outcome, result.published
        if not isinstance(outcome, Published):
            return result
        record = turn.record_of(deployment, self.versions)
        built = deployment.built or self._built(deployment, result, record.published)
        if published is not None:
            known = result.known
            first = known.deployment if known and known.version == published.version else deployment.id
            published = replace(published, deployment=first, built=built)
        serving = record.serving
        version, after = (serving.version, serving.position.at) if serving else (None, 0)
        expected = (None, AliasState(version) if version else None)
        found = () if outcome.original in expected else read_found(function, outcome.original)
        return replace(
            result,
            outcome=replace(outcome, built=built, found=found, recorded=version, after=after),
            published=published,
        )

    def _built(
        self, deployment: Deployment, result: PublishResult, recorded: PublishedVersion | None
    ) -> Origin | None:
        """Return who had the version published, from the record of its digest."""
        known = result.known
        if known is None and result.published is None:
            known = recorded
        if known is not None and known.version == _version(result):
            if known.built is not None:
                return known.built
            first = self.deployments.get(known.deployment)
            return (first.built or origin_of(first)) if first else None
        made_here = result.published is not None and deployment.action == "deploy"
        return origin_of(deployment) if made_here else None


def _version(result: PublishResult) -> str | None:
    return result.outcome.version if isinstance(result.outcome, Published) else None
