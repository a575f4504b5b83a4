"""What a delivery proves and means: schemes, bodies, identities, keys."""

import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks.webhooks
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Signer

from sluicegate.gateway.problems import Problem
from sluicegate.gateway.webhooks import delivery as deliveries
from sluicegate.gateway.webhooks import verification
from sluicegate.gateway.webhooks.delivery import Delivery, Ignored, read
from sluicegate.oidc.identity import Identity
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.strict_json import StrictJsonError, loads
from support.deliveries import (
    ISSUER,
    OTHER_EVENTS,
    OTHER_SHA,
    SECRET,
    SHA,
    ZEROS,
    headers,
    pipeline,
    raw,
    sign,
    tag_push,
    webhook,
)

# The example of https://github.com/standard-webhooks/standard-webhooks
EXAMPLE = {
    "webhook-id": ["msg_p5jXN8AQM9LWM0D4loKWxJek"],
    "webhook-timestamp": ["1614265330"],
    "webhook-signature": ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
}
PAYLOAD = b'{"test": 2432232314}'
BODY = raw(tag_push())


def clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """The library's clock."""

    class At(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "At":
            return cls.fromtimestamp(now, tz)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", At)


def verifies(sent: dict[str, list[str]], body: bytes = BODY, secret: str = SECRET) -> bool:
    return verification.signature_check(sent, body)(secret)


# Signatures


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
def test_the_published_example_verifies(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    clock(monkeypatch, 1614265330)
    assert verifies(EXAMPLE, PAYLOAD, secret)
    assert not verifies(EXAMPLE, PAYLOAD + b" ", secret)


@pytest.mark.parametrize(
    ("seconds", "fresh"),
    [(0, True), (299, True), (-299, True), (301, False), (-301, False), (365 * 86_400, False)],
)
def test_a_signature_holds_for_five_minutes(
    monkeypatch: pytest.MonkeyPatch, seconds: int, fresh: bool
) -> None:
    clock(monkeypatch, 1614265330 + seconds)
    assert verifies(EXAMPLE, PAYLOAD) is fresh


@settings(deadline=None)  # a busy machine is no failure
@given(body=st.text(), key=st.text("abc-_.0", min_size=1, max_size=40), secret=st.binary(min_size=1))
def test_what_the_library_signs_verifies_with_that_secret_only(body: str, key: str, secret: bytes) -> None:
    text = f"whsec_{b64encode(secret).decode()}"
    data = body.encode("utf-8", "replace")
    sent = sign(data, text, key=key, at=time.time())
    assert verifies(sent, data, text)
    assert not verifies(sent, data + b"x", text)
    assert not verifies(sent, data, f"whsec_{b64encode(secret + b'x').decode()}")
    assert not verifies(sent | {"webhook-id": [key + "x"]}, data, text)
    later = str(int(sent["webhook-timestamp"][0]) + 1)
    assert not verifies(sent | {"webhook-timestamp": [later]}, data, text)


def test_one_of_several_signatures_is_enough() -> None:
    sent = sign(BODY, at=time.time())
    other = sign(BODY, "whsec_b3RoZXI=", at=time.time())["webhook-signature"][0]
    several = f"v1a,abc {other} {sent['webhook-signature'][0]}"
    assert verifies(sent | {"webhook-signature": [several]})
    assert not verifies(sent | {"webhook-signature": [f"{other} {other}"]})


@pytest.mark.parametrize(
    "value",
    [
        "v1",
        "v1,",
        ",",
        "v1,é",
        "v1,###",
        "v1,QQ==,QQ==",
        "v1 QQ==",
        "v2,{}",
        "V1,{}",
        "{}",
        "v1,QQ== v1",
        "\x00",
        "",
    ],
)
def test_a_malformed_list_verifies_nothing(value: str) -> None:
    sent = sign(BODY, at=time.time())
    listed = value.format(sent["webhook-signature"][0].removeprefix("v1,"))
    with suppress(InvalidToken):
        assert not verifies(sent | {"webhook-signature": [listed]})


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_list_verifies_nothing(values: list[str]) -> None:
    sent = sign(BODY, at=time.time())
    with suppress(InvalidToken):
        assert not verifies(sent | {"webhook-signature": values})


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_comes_once(name: str) -> None:
    sent = sign(BODY, at=time.time())
    for values in ([], sent[name] * 2):
        with pytest.raises(InvalidToken) as refused:
            verifies(sent | {name: values})
        assert refused.value.check == name


@pytest.mark.parametrize(
    "stamp", ["", "0", "-1", "1e9", "nan", "inf", " 1614265330", "1614265330.5", "١٦١٤٢٦٥٣٣٠"]
)
def test_a_timestamp_is_whole_seconds(stamp: str) -> None:
    with pytest.raises(InvalidToken, match="webhook-timestamp"):
        verifies(sign(BODY, at=time.time()) | {"webhook-timestamp": [stamp]})


def test_the_id_has_one_value_under_both_names() -> None:
    sent = sign(BODY, at=time.time())
    assert verifies(sent | {"idempotency-key": ["msg_1"]})
    for keys in (["msg_2"], ["msg_1", "msg_1"], ["MSG_1"], [""]):
        with pytest.raises(InvalidToken, match="idempotency-key"):
            verifies(sent | {"idempotency-key": keys})


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_=", "not base64!", "whsec_é"])
def test_a_secret_that_is_none_verifies_nothing(secret: str) -> None:
    empty = Signer(b"x").sign("msg_1", datetime.now(UTC), BODY.decode())
    assert not verifies(sign(BODY, at=time.time()) | {"webhook-signature": [empty]}, BODY, secret)


def test_a_body_that_is_no_text_verifies_nothing() -> None:
    assert not verifies(sign(BODY, at=time.time()), b"\xff")


# Tokens


def test_the_token_is_the_secret() -> None:
    assert verification.token_check({"x-gitlab-token": ["sécret"]})("sécret")
    for other in ("", "secret", "sécret ", "SÉCRET"):
        assert not verification.token_check({"x-gitlab-token": ["sécret"]})(other)


@pytest.mark.parametrize("values", [[], [""], ["s", "s"], ["s" * 5000]])
def test_a_token_is_sent_once_and_not_empty(values: list[str]) -> None:
    with pytest.raises(InvalidToken, match="x-gitlab-token"):
        verification.token_check({"x-gitlab-token": values})


def test_an_empty_secret_is_no_secret() -> None:
    assert not verification.token_check({"x-gitlab-token": ["x"]})("")


@pytest.mark.parametrize(
    ("issuer", "instance", "fits"),
    [
        (ISSUER, [], True),
        (ISSUER, [ISSUER], True),
        (f"{ISSUER}/gitlab", [ISSUER], True),
        (ISSUER, [f"{ISSUER}/gitlab"], False),
        (ISSUER, ["https://gitlab.example.co"], False),
        (ISSUER, ["https://gitlab.com"], False),
        (ISSUER, [""], False),
        (ISSUER, [ISSUER, "https://gitlab.com"], False),
    ],
)
def test_the_instance_is_the_issuers(issuer: str, instance: list[str], fits: bool) -> None:
    if fits:
        verification.check_instance(issuer, {"x-gitlab-instance": instance})
        return
    with pytest.raises(Problem) as refused:
        verification.check_instance(issuer, {"x-gitlab-instance": instance})
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")


# Bodies

PUSHED = Delivery("tag_push", "v1.0.0", "tag", SHA, None, "push")
SUCCEEDED = Delivery("pipeline", "v1.0.0", "tag", SHA, "574", "push")


def meaning(body: Any, **hook: Any) -> Delivery | Ignored:
    return read(webhook(**hook), headers(body), body)


@pytest.mark.parametrize(
    ("body", "hook", "expected"),
    [
        (tag_push(), {}, PUSHED),
        (tag_push(after=OTHER_SHA), {}, PUSHED),  # an annotated tag has an id of its own
        (pipeline(), {}, SUCCEEDED),
        (pipeline(), {"event": "pipeline", "ref_type": "tag"}, SUCCEEDED),
        (
            pipeline(tag=False, ref="main", source="web"),
            {"event": "pipeline", "ref": "main"},
            Delivery("pipeline", "main", "branch", SHA, "574", "web"),
        ),
        (tag_push(sha="a" * 64), {}, Delivery("tag_push", "v1.0.0", "tag", "a" * 64, None, "push")),
        (tag_push(project={}), {}, PUSHED),  # of a template
    ],
)
def test_what_is_to_be_deployed(body: Any, hook: dict[str, Any], expected: Delivery) -> None:
    assert meaning(body, **hook) == expected


@pytest.mark.parametrize(
    ("body", "hook", "code"),
    [
        (tag_push(sha=None), {}, "tag_deleted"),
        (tag_push(after=ZEROS), {}, "tag_deleted"),
        (tag_push("refs/tags/nightly"), {}, "other_ref"),
        (tag_push("refs/tags/v1/../../x"), {}, "other_ref"),
        (tag_push("refs/tags/refs/tags/v1"), {}, "other_ref"),
        (tag_push(), {"event": "pipeline"}, "other_event"),
        (tag_push(object_kind="push"), {}, "other_event"),
        (tag_push(object_kind="release"), {}, "other_event"),
        *(
            (pipeline(status=s), {}, "other_status")
            for s in ("created", "running", "failed", "canceled", "SUCCESS")
        ),
        (pipeline(source="merge_request_event", ref="v1", tag=False), {"event": "pipeline"}, "merge_request"),
        (pipeline(source="merge_request_event", ref="v1", tag=False), {}, "merge_request"),
        (pipeline(source="external_pull_request_event"), {}, "merge_request"),
        (pipeline(source="parent_pipeline"), {"event": "pipeline"}, "merge_request"),
        (pipeline(merge_request={"id": 1}), {}, "merge_request"),
        (pipeline(ref="v1", tag=False), {}, "other_ref"),
        (pipeline(ref="main", tag=False), {"event": "pipeline"}, "other_ref"),
        (pipeline(ref="main"), {"event": "pipeline", "ref": "main"}, "other_ref"),  # a tag of that name
        (
            pipeline(ref="main", tag=False),
            {"event": "pipeline", "ref_type": "tag", "ref": "main"},
            "other_ref",
        ),
    ],
)
def test_where_there_is_nothing_to_do(body: Any, hook: dict[str, Any], code: str) -> None:
    found = meaning(body, **hook)
    assert isinstance(found, Ignored)
    assert found.code == code
    assert found.why


@pytest.mark.parametrize("body", OTHER_EVENTS.values(), ids=OTHER_EVENTS)
def test_an_event_that_is_not_waited_for_may_name_its_project_anywhere(body: dict[str, Any]) -> None:
    """Project, group and system hooks send these, some of no project at all."""
    for sent in (
        headers(body),
        headers(body, x_gitlab_event="System Hook"),
        headers(body, x_gitlab_event=[]),
    ):
        found = read(webhook(), sent, body)
        assert isinstance(found, Ignored)
        assert found.code == "other_event"


def test_gitlabs_test_button_sends_a_push_as_a_tags() -> None:
    body = tag_push("refs/heads/main", object_kind="push")
    found = read(webhook(), headers(body, x_gitlab_event="Tag Push Hook"), body)
    assert isinstance(found, Ignored)
    assert found.code == "other_event"


def without(body: dict[str, Any], pointer: str) -> dict[str, Any]:
    first, _, rest = pointer[1:].partition("/")
    if rest:
        return body | {first: without(body[first], f"/{rest}")}
    return {name: value for name, value in body.items() if name != first}


def put(body: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    first, _, rest = pointer[1:].partition("/")
    return body | {first: put(body[first], f"/{rest}", value) if rest else value}


AT = "/object_attributes"
ALWAYS_SENT = [
    *((tag_push(), pointer) for pointer in ("/object_kind", "/ref", "/checkout_sha")),
    (pipeline(), "/object_kind"),
    (pipeline(), "/project/id"),
    (pipeline(), AT),
    *((pipeline(), f"{AT}/{name}") for name in ("id", "ref", "tag", "sha", "source", "status")),
]


@pytest.mark.parametrize(("body", "pointer"), ALWAYS_SENT)
def test_what_gitlab_always_sends_must_be_there(body: dict[str, Any], pointer: str) -> None:
    no_words: list[Any] = [[], {}, 1.5, True, -1]
    if pointer.endswith(("/tag", AT)):
        no_words = [[], {}, 1.5, "true", 1]
    if pointer.endswith(("/ref", "/sha", "/checkout_sha")):
        no_words += ["", "\n", "x" * 300]
    for wrong in (without(body, pointer), *(put(body, pointer, value) for value in no_words)):
        with pytest.raises(Problem) as refused:
            read(webhook(), headers(body), wrong)
        assert refused.value.status == 400
        assert refused.value.members["errors"][0]["pointer"].startswith(pointer.rpartition("/")[0] or "/")


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"object_kind": None}])
def test_what_is_no_event_is_refused(body: Any) -> None:
    with pytest.raises(Problem) as refused:
        read(webhook(), headers({}), body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        tag_push(project_id=9),
        tag_push(project={"id": 9}),
        pipeline(project={"id": 9}),
        pipeline() | {"project_id": 9},
    ],
)
def test_another_project_is_not_the_hooks(body: Any) -> None:
    with pytest.raises(Problem) as refused:
        meaning(body)
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (tag_push(), []),
        (tag_push(), ["Tag Push Hook", "Tag Push Hook"]),
        (tag_push(), ["Push Hook"]),
        (tag_push(), ["Pipeline Hook"]),
        (tag_push(), ["System Hook"]),
        (pipeline(), ["Tag Push Hook"]),
        (tag_push(object_kind="push"), ["Pipeline Hook"]),
    ],
)
def test_the_event_header_fits_the_body(body: Any, events: list[str]) -> None:
    with pytest.raises(Problem) as refused:
        read(webhook(), headers(body, x_gitlab_event=events), body)
    assert refused.value.status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=12), children, max_size=3)
    ),
    max_leaves=8,
)
POINTERS = [
    "/object_kind",
    "/ref",
    "/after",
    "/checkout_sha",
    "/project_id",
    "/project",
    "/merge_request",
    AT,
]
POINTERS += [f"{AT}/{name}" for name in ("id", "ref", "tag", "sha", "source", "status")]


def answered(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What it answers, or a Problem's status."""
    try:
        return ask(*arguments)
    except Problem as problem:
        return problem.status


@settings(deadline=None)
@given(body=st.sampled_from([tag_push(), pipeline()]), pointer=st.sampled_from(POINTERS), value=JSON)
def test_whatever_a_field_is_the_answer_is_one_of_ours(
    body: dict[str, Any], pointer: str, value: Any
) -> None:
    if pointer.startswith(f"{AT}/") and AT[1:] not in body:
        return
    found = answered(read, webhook(ref="**"), headers(body), put(body, pointer, value))
    assert found in (400, 403) or isinstance(found, Ignored | Delivery)
    if isinstance(found, Delivery):
        assert found.ref.isprintable()
        assert len(found.sha) in (40, 64)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_body_is_strict_json_or_refused(data: bytes) -> None:
    try:
        value = loads(data, max_depth=16)
    except StrictJsonError:
        return
    with pytest.raises(Problem):
        read(webhook(), headers({}), value)


# Identities


def test_the_identity_is_what_the_delivery_says_of_the_hooks_own_project() -> None:
    who = deliveries.identity(webhook(), SUCCEEDED, now=1000.0)
    assert (who.via, who.project, who.jti, who.webhook) == ("webhook", (ISSUER, "4213"), None, "orders-tags")
    assert dict(who.claims) == {
        "project_id": "4213",
        "ref": "v1.0.0",
        "ref_type": "tag",
        "sha": SHA,
        "pipeline_id": "574",
        "pipeline_source": "push",
        "event": "pipeline",
    }
    assert "pipeline_id" not in deliveries.identity(webhook(), PUSHED, now=1000.0).claims


def token(issuer: str = ISSUER, **changes: str | None) -> Identity:
    claims = {"project_id": "4213", "ref": "v1.0.0", "ref_type": "tag", "sha": SHA, "pipeline_id": "574"}
    kept = {name: value for name, value in (claims | changes).items() if value is not None}
    return Identity("id_token", issuer, kept, "j1", 0, 10)


def test_a_token_and_a_body_that_agree_are_fine() -> None:
    hook = webhook("id_token")
    deliveries.check_agrees(hook, tag_push(), token())
    deliveries.check_agrees(hook, pipeline(), token())
    deliveries.check_agrees(hook, pipeline(tag=False, ref="main"), token(ref="main", ref_type="branch"))
    deliveries.check_agrees(hook, {"object_kind": "push"}, token())


@pytest.mark.parametrize(
    ("body", "who"),
    [
        *((tag_push(), token(**{name: "9"})) for name in ("project_id", "ref", "ref_type", "sha")),
        *(
            (pipeline(), token(**{name: "9"}))
            for name in ("project_id", "ref", "ref_type", "sha", "pipeline_id")
        ),
        (pipeline(), token(sha=None)),
        (pipeline(), token("https://gitlab.com")),
        (pipeline(tag=False), token()),
        (pipeline(tag="true"), token()),
        *((without(tag_push(), pointer), token()) for pointer in ("/project_id", "/ref", "/checkout_sha")),
        *((without(pipeline(), f"{AT}/{name}"), token()) for name in ("id", "ref", "tag", "sha")),
        (without(pipeline(), "/project/id"), token()),
        (put(pipeline(), f"{AT}/id", "574"), token()),
        ({"object_kind": "pipeline"}, token()),
    ],
)
def test_a_body_that_says_otherwise_than_the_token_is_refused(body: Any, who: Identity) -> None:
    with pytest.raises(Problem) as refused:
        deliveries.check_agrees(webhook("id_token"), body, who)
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")


# One effect


def test_a_tag_is_known_by_its_commit_whatever_tells_of_it() -> None:
    hook = webhook()
    assert deliveries.request_key(hook, PUSHED, proven=True) == deliveries.request_key(
        hook, SUCCEEDED, proven=True
    )
    assert deliveries.permanent_claim(hook, PUSHED, proven=True) == deliveries.permanent_claim(
        hook, SUCCEEDED, proven=True
    )


def test_what_differs_has_another_key() -> None:
    branch = Delivery("pipeline", "main", "branch", SHA, "574", "push")
    asked = [
        (webhook(), PUSHED),
        (webhook(name="other"), PUSHED),
        (webhook(issuer="https://gitlab.com"), PUSHED),
        (webhook(project_id="4"), PUSHED),
        (webhook(), Delivery("tag_push", "v1.0.1", "tag", SHA, None, "push")),
        (webhook(), Delivery("tag_push", "v1.0.0", "tag", OTHER_SHA, None, "push")),
        (webhook(), branch),
        (webhook(), Delivery("pipeline", "main", "branch", SHA, "575", "push")),
        (webhook(), Delivery("pipeline", "main", "branch", OTHER_SHA, "574", "push")),
        (webhook(), Delivery("pipeline", "next", "branch", SHA, "574", "push")),
    ]
    keys = [deliveries.request_key(hook, delivery, proven=True) for hook, delivery in asked]
    keys += [deliveries.request_key(hook, delivery, proven=False) for hook, delivery in asked]
    assert len({*keys}) == 2 * len(asked)
    assert all(len(key) == 64 for key in keys)
    assert deliveries.permanent_claim(webhook(), branch, proven=True).tag is None
    moved = Delivery("tag_push", "v1.0.0", "tag", OTHER_SHA, None, "push")
    assert (
        deliveries.permanent_claim(webhook(), moved, proven=True).tag
        == deliveries.permanent_claim(webhook(), PUSHED, proven=True).tag
    )


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_key_has_text_of_a_body_in_it(ref: str) -> None:
    delivery = Delivery("tag_push", ref, "tag", SHA, None, "push")
    keys = (
        deliveries.request_key(webhook(), delivery, proven=True),
        deliveries.permanent_claim(webhook(), delivery, proven=True).tag,
    )
    assert all(key and set(key) <= set("0123456789abcdef") for key in keys)
