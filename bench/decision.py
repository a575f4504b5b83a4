"""Token check plus decision, as a ratio to a bare `jwt.decode` of the same token in the same run."""

import json
import time
from collections.abc import Callable
from statistics import median

import jwt
from bench.results import record
from jwt.types import Options

from sluicegate.gate.codec import parse
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.jwks import Keyring
from sluicegate.oidc.token import verify
from support.gate_documents import document, entry, rule, stage
from support.signing import AUDIENCE, CLAIMS, ISSUER, NOW, jwk, jwks, key, token

ROUNDS, REPEAT = 15, 200


def gate(rules: int) -> Gate:
    """The gate of that many rules; the caller's is the last."""

    def one(number: int, project: str) -> dict[str, object]:
        claims = {
            "project_id": [project],
            "ref_type": ["branch"],
            "ref": ["main"],
            "pipeline_source": ["push", "web"],
        }
        return rule(f"rule {number}", issuer=ISSUER, claims=claims, stages=["dev"])

    corp = document()["issuers"][0] | {"url": ISSUER, "audience": AUDIENCE, "max_age": None}
    gate_json = document(
        issuers=[corp],
        stages=[stage("dev")],
        functions=[entry()],
        rules=[one(i, str(10_000 + i)) for i in range(rules - 1)] + [one(rules, CLAIMS["project_id"])],
        deny=[],
    )
    return parse(json.dumps(gate_json).encode(), own_functions=())


def seconds(work: Callable[[], object]) -> float:
    """One call's time: the median of rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEAT):
            work()
        times.append((time.perf_counter() - start) / REPEAT)
    return median(times)


def main() -> None:
    one = token()
    issuer = Issuer("corp", ISSUER, AUDIENCE, None, jwks(jwk()))
    keys, public = Keyring(clock=lambda: NOW), key().public_key()

    def bare() -> object:
        return jwt.decode(one, public, ["RS256"], audience=AUDIENCE, issuer=ISSUER, options=WITHOUT_TIMES)

    def full(asked: Gate) -> Callable[[], object]:
        issuers = {ISSUER: issuer}

        def run() -> object:
            identity = verify([f"Bearer {one}"], issuers=issuers, keys=keys, now=NOW)
            decision = asked.decide(identity, actions=("deploy",), function="orders-api", stage="dev")
            if decision.rule is None:
                raise SystemExit("the benchmark's request is refused")
            return decision

        return run

    base = seconds(bare)
    print(f"bare jwt.decode of a {len(one)}-byte token        {base * 1e6:8.0f} us")
    ratios = {}
    for rules in (1, 10_000):
        taken = seconds(full(gate(rules)))
        ratios[rules] = taken / base
        print(f"token check and decision, {rules:>6} rules  {taken * 1e6:8.0f} us  {ratios[rules]:5.2f} x")
    record({"decision.ratio": ratios[1], "decision.ratio_10000_rules": ratios[10_000]})


WITHOUT_TIMES: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}

if __name__ == "__main__":
    main()
