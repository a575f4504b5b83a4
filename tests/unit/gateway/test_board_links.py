"""The link to the board: only where people can sign in there."""

from dataclasses import replace

import pytest

from sluicegate.oidc.identity import SignIn
from support.gateway_simulation import artifact, gate_of, gateway_simulation
from support.signing import ISSUER


@pytest.mark.parametrize("signs_in", [True, False])
def test_a_deployment_has_a_link_to_the_board_where_people_can_sign_in(signs_in: bool) -> None:
    gate = gate_of()
    if signs_in:
        corp = replace(gate.issuers[ISSUER], sign_in=SignIn("5f1d", "sluicegate/sign-in/corp"))
        gate = replace(gate, issuers={**gate.issuers, ISSUER: corp})
    with gateway_simulation(gate=gate) as at:
        accepted = at.request(action="deploy", artifact={"sha256": artifact(at, b"the next")})
        deployment = accepted.value["id"]
        read = at.ask("GET", "/deployments/{id}", at.job(), id=deployment)
        for answer in (accepted, read):
            page = f"/v1/board/deployments/{deployment}" if signs_in else None
            assert answer.value["links"].get("board") == page
            assert answer.headers.get("Sluicegate-Board") == page
