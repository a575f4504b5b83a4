"""Which versions may go, by tables and by lot."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.aws.lambda_versions import ListedVersion
from sluicegate.deployment.model import AliasState, Deployment, EarlierVersion, FoundVersion
from sluicegate.gate.pruning import Prune
from sluicegate.pruning.decision import (
    AliasHistory,
    FunctionVersions,
    Keep,
    KeepReason,
    decide,
    named_by,
)
from sluicegate.store.history import PastVersion, Position, RecordedVersion
from support.simulation import START, new_deployment

NOW = START
DAY = 86_400.0
PRUNE = Prune(keep=2, rollbacks=2, older_than=30 * 86_400)


def sha(version: str) -> str:
    return version.rjust(64, "0")


def past(version: str, **changes: Any) -> PastVersion:
    position = Position(int(version), f"01D{int(version):05}")
    one = PastVersion(version, sha(version), position.deployment, False, False, position)
    return replace(one, **changes)


def known(numbers: Sequence[int] = range(1, 11), **changes: Any) -> FunctionVersions:
    """Return versions that Sluicegate published 100 days ago, and nothing that uses one."""
    versions = [str(number) for number in numbers]
    return replace(
        FunctionVersions(
            tuple(ListedVersion(one, sha(one), NOW - 100 * DAY) for one in versions),
            tuple(RecordedVersion(one, sha(one), NOW - 100 * DAY) for one in versions),
            {},
            (),
            (),
        ),
        **changes,
    )


def reasons(versions: FunctionVersions, version: str, prune: Prune = PRUNE) -> list[tuple[str, str]]:
    return [(keep.reason.value, keep.detail) for keep in decide(versions, prune, NOW)[version]]


def history(alias: str, serving: str, *ones: PastVersion) -> AliasHistory:
    return AliasHistory(alias, (serving,), ones)


def open_(**changes: Any) -> tuple[Deployment, ...]:
    return (replace(new_deployment(NOW, sha("10")), **changes),)


BASE = known()
CASES = [
    ("nothing needs it", BASE, []),
    ("nobody recorded it", replace(BASE, recorded=BASE.recorded[1:]), [("not_recorded", "")]),
    (
        "its code is another",
        replace(BASE, listed=(ListedVersion("1", sha("9"), None), *BASE.listed[1:])),
        [("other_code", "")],
    ),
    (
        "it is young by the record",
        replace(BASE, recorded=(*BASE.recorded, RecordedVersion("1", sha("1"), NOW - 29 * DAY))),
        [("young", "younger than 30d")],
    ),
    (
        "it is young by Lambda",
        replace(BASE, listed=(ListedVersion("1", sha("1"), NOW - DAY), *BASE.listed[1:])),
        [("young", "younger than 30d")],
    ),
    ("an alias names it", replace(BASE, aliases={"mine": AliasState("1")}), [("alias", "mine")]),
    (
        "a weight names it",
        replace(BASE, aliases={"mine": AliasState("9", {"1": 0.1})}),
        [("alias", "mine")],
    ),
    (
        "by the record it serves",
        replace(BASE, histories=(history("prod", "1", past("1")),)),
        [("serving", "prod")],
    ),
    (
        "it is the second that a rollback may go to",
        replace(BASE, histories=(history("prod", "9", past("9"), past("8"), past("1")),)),
        [("rollback", "prod")],
    ),
    (
        "it is the third",
        replace(BASE, histories=(history("prod", "9", past("9"), past("8"), past("7"), past("1")),)),
        [],
    ),
    (
        "what is withdrawn, gone or minor takes no place of a rollback",
        replace(
            BASE,
            histories=(
                history(
                    "prod",
                    "9",
                    past("8"),
                    past("7", withdrawn=True),
                    past("6", gone_since="2026-01-01T00:00:00Z"),
                    past("5", minor=True),
                    past("1"),
                ),
            ),
        ),
        [("rollback", "prod")],
    ),
    ("it is withdrawn", replace(BASE, histories=(history("prod", "9", past("1", withdrawn=True)),)), []),
    (
        "it is another stage's rollback",
        replace(
            BASE,
            histories=(
                history("prod", "9", past("8"), past("7"), past("1")),
                history("test", "9", past("1")),
            ),
        ),
        [("rollback", "test")],
    ),
    (
        "a deployment found it",
        replace(
            BASE,
            histories=(history("prod", "9", past("8"), past("7"), past("1", found=True, withdrawn=True)),),
        ),
        [("found", "prod")],
    ),
    ("in flight", replace(BASE, open=open_(version="1")), [("in_flight", "prod")]),
    ("found in flight", replace(BASE, open=open_(original=AliasState("1"))), [("in_flight", "prod")]),
    (
        "a weight in flight",
        replace(BASE, open=open_(current=AliasState("9", {"1": 0.5}))),
        [("in_flight", "prod")],
    ),
    ("recorded in flight", replace(BASE, open=open_(recorded="1")), [("in_flight", "prod")]),
    (
        "to fall back to",
        replace(BASE, open=open_(fallbacks=(EarlierVersion("1", sha("1")),))),
        [("in_flight", "prod")],
    ),
    (
        "found by it",
        replace(BASE, open=open_(found=(FoundVersion("1", sha("1")),))),
        [("in_flight", "prod")],
    ),
]


@pytest.mark.parametrize(
    ("versions", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_version_stays_for_each_reason(versions: FunctionVersions, expected: list[tuple[str, str]]) -> None:
    assert reasons(versions, "1") == expected


def test_the_newest_stay_and_those_of_somebody_else_do_not_count() -> None:
    versions = replace(BASE, recorded=tuple(one for one in BASE.recorded if int(one.version) < 9))
    kept = decide(versions, PRUNE, NOW)
    assert [version for version, keep in kept.items() if Keep(KeepReason.NEWEST) in keep] == ["10", "8", "7"]


def test_lambdas_newest_version_stays_whatever_happens() -> None:
    """PublishVersion returns it again while `$LATEST` is unchanged."""
    assert reasons(known(range(1, 2)), "1", replace(PRUNE, keep=1)) == [("newest", "")]


def test_versions_are_listed_newest_first_by_number() -> None:
    assert list(decide(known([9, 10, 2]), PRUNE, NOW)) == ["10", "9", "2"]


NUMBERS = st.integers(1, 12).map(str)
STATES = st.builds(
    lambda version, other: AliasState(version, {other: 0.1} if other and other != version else {}),
    NUMBERS,
    st.none() | NUMBERS,
)
PAST = st.lists(
    st.builds(
        past,
        NUMBERS,
        withdrawn=st.booleans(),
        found=st.booleans(),
        minor=st.booleans(),
        gone_since=st.none() | st.just("2026-01-01T00:00:00Z"),
    ),
    unique_by=lambda one: one.version,
    max_size=8,
)
HISTORIES = st.lists(
    st.builds(AliasHistory, st.sampled_from(["prod", "test"]), st.tuples(NUMBERS), PAST.map(tuple)),
    max_size=3,
).map(tuple)
OPEN = st.lists(
    st.builds(
        lambda version, original, current: open_(version=version, original=original, current=current)[0],
        st.none() | NUMBERS,
        st.none() | STATES,
        st.none() | STATES,
    ),
    max_size=3,
).map(tuple)
LISTED = st.lists(
    st.builds(
        ListedVersion,
        NUMBERS,
        NUMBERS.map(sha),
        st.none() | st.floats(NOW - 60 * DAY, NOW),
    ),
    unique_by=lambda one: one.version,
    max_size=12,
).map(tuple)
RECORDED = st.lists(
    st.builds(RecordedVersion, NUMBERS, NUMBERS.map(sha), st.floats(NOW - 60 * DAY, NOW)), max_size=14
).map(tuple)
PRUNES = st.builds(Prune, st.integers(1, 5), st.integers(1, 3), st.integers(1, 50).map(lambda n: n * 86_400))


@given(
    st.builds(
        FunctionVersions,
        LISTED,
        RECORDED,
        st.dictionaries(st.sampled_from("abc"), STATES, max_size=3),
        HISTORIES,
        OPEN,
    ),
    PRUNES,
)
def test_nothing_goes_that_anything_needs(versions: FunctionVersions, prune: Prune) -> None:
    """The promise, said another way than the code says it."""
    listed = {one.version: one for one in versions.listed}
    ours = sorted({one.version for one in versions.recorded} & listed.keys(), key=int)
    for version, keep in decide(versions, prune, NOW).items():
        if keep:
            continue
        assert version in ours[: -prune.keep]
        assert int(version) < max(map(int, listed))
        ages = [
            one.at
            for one in versions.recorded
            if (one.version, one.sha256) == (version, listed[version].sha256)
        ]
        assert ages
        assert all(NOW - at >= prune.older_than for at in [*ages, listed[version].modified or 0])
        for state in versions.aliases.values():
            assert version not in {state.version, *state.weights}
        assert not any(version in named_by(one) for one in versions.open)
        for one in versions.histories:
            assert version not in one.serving
            assert not any(each.version == version and each.found for each in one.past)
            ways = [
                each.version
                for each in one.past
                if not (each.minor or each.withdrawn or each.gone_since or each.version in one.serving)
            ]
            assert version not in ways[: prune.rollbacks]
