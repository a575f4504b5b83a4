"""Say of a version who built it, and of an alias what somebody else made it serve."""

from dataclasses import dataclass, replace

from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployer.lookups import read_found
from sluicegate.deployment.model import AliasState, Deployment, origin_of
from sluicegate.rollout.outcomes import Published
from sluicegate.store.deployments import Deployments
from sluicegate.store.versions import PublishedVersion, Versions


@dataclass(frozen=True)
class Origins:
    """Adds to an outcome what the record and Lambda know beyond the version itself."""

    versions: Versions
    deployments: Deployments

    def describe(
        self,
        deployment: Deployment,
        function: FunctionApi,
        outcome: Published,
        published: PublishedVersion | None,
    ) -> tuple[Published, PublishedVersion | None]:
        """Return the outcome with the version's origin and what was found, and what to record of the version.

        The origin is the request for which a version was published first: the same bytes, deployed again for
        another commit, are still that version. Nobody needs to have built what somebody else published.
        """
        built = deployment.built
        if built is None:
            known = self.versions.published(deployment.plan.target, deployment.function, deployment.sha256)
            if known is not None and known.version == outcome.version:
                first = self.deployments.get(known.deployment)
                built = (first.built or origin_of(first)) if first else None
                published = published and replace(published, deployment=known.deployment)
            elif published is not None and deployment.action == "deploy":
                built = origin_of(deployment)
        recorded = self.versions.serving_of(deployment)
        version = recorded.version if recorded else None
        expected = (None, AliasState(version) if version else None)
        found = () if outcome.original in expected else read_found(function, outcome.original)
        return replace(outcome, built=built, found=found, recorded=version), published
