"""The template of a target: what it makes of a gate file, and what its roles and bucket let happen."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.aws import permissions
from sluicegate.gate import patterns
from sluicegate_gatefile import target_template
from sluicegate_gatefile.target_policy import MANAGED, MAX_OF_TARGET, NOTHING_MORE, documents
from sluicegate_gatefile.target_template import TargetStack, template
from support.iam_model import allowed
from support.target_stacks import BUS, DEPLOYER, GATE, OWN, gate_of, resolved, role_documents, stacks_of
from support.template import Json

HERE: Final = "arn:aws:lambda:eu-central-1:222222222222:function:"
BUCKET: Final = "arn:aws:s3:::sluicegate-222222222222-eu-central-1-48df97c8"
OBJECT: Final = f"{BUCKET}/orders-api/0a1b"
OURS: Final = {"aws:ResourceAccount": "222222222222"}


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TargetStack]:
    return stacks_of(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def resources(stacks: dict[str, TargetStack]) -> Json:
    found: Json = resolved(stacks["prod-eu"])["Resources"]
    return found


# What CloudFormation takes


@pytest.mark.parametrize("name", ["prod-eu", "prod-us", "pay"])
def test_a_template_is_plain(stacks: dict[str, TargetStack], name: str) -> None:
    """Service-managed StackSets refuse transforms, and CloudFormation YAML's aliases."""
    text = template(stacks[name], list(stacks.values()))
    assert "Transform" not in text
    assert not [token for token in yaml.scan(text) if isinstance(token, (yaml.AliasToken, yaml.AnchorToken))]
    assert "<" not in re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE).replace("?<", "")


def test_numbers_and_dates_stay_texts(stacks: dict[str, TargetStack]) -> None:
    """`012345678901` and `1e10` are numbers to some who read YAML, and `2012-10-17` a date."""
    plain = yaml.compose(template(stacks["pay"], list(stacks.values())), yaml.BaseLoader)
    tags = {node.value: node.style for node in _scalars(plain) if re.fullmatch(r"[0-9][0-9e.-]*", node.value)}
    assert {"1e10", "222222222222", "2012-10-17"} <= set(tags)
    assert all(
        style == '"' for value, style in tags.items() if value not in ("1", "2", "3", "10", "30", "3600")
    )


def _scalars(node: Any) -> list[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        return [node]
    if isinstance(node, yaml.MappingNode):
        return [found for pair in node.value for each in pair for found in _scalars(each)]
    return [found for each in node.value for found in _scalars(each)]


def test_elsewhere_than_in_its_place_it_makes_nothing(stacks: dict[str, TargetStack]) -> None:
    with pytest.raises(AssertionError, match="has no value for"):
        resolved(stacks["prod-eu"], account="333333333333")
    with pytest.raises(AssertionError, match="has no value for"):
        resolved(stacks["prod-eu"], region="eu-west-1")


def test_targets_with_the_same_permissions_share_a_template(stacks: dict[str, TargetStack]) -> None:
    every = list(stacks.values())
    shared = template(stacks["prod-eu"], every)
    assert shared == template(stacks["prod-us"], every) != template(stacks["pay"], every)
    for name in ("prod-eu", "prod-us"):
        alone, together = resolved(stacks[name]), resolved(stacks[name], text=shared)
        assert alone == together
    with pytest.raises(AssertionError, match="has no value for"):
        resolved(stacks["pay"], text=shared)


def test_two_targets_in_one_account_have_nothing_of_one_name(stacks: dict[str, TargetStack]) -> None:
    def names(stack: TargetStack) -> set[str]:
        return {
            value
            for resource in resolved(stack)["Resources"].values()
            for key, value in resource["Properties"].items()
            if key in ("RoleName", "BucketName", "Name", "ManagedPolicyName")
        }

    assert len(names(stacks["prod-eu"])) == 3  # the rule has the name of its role
    assert not names(stacks["prod-eu"]) & names(stacks["pay"])


@pytest.mark.parametrize("count", [1, 40, 80])
def test_with_many_functions_everything_fits(count: int) -> None:
    """IAM quotas: 10,240 characters inline in a role, 6,144 managed, 10 attached; CloudFormation's: 1 MB."""
    names = [f"{'x' * 60}{number:04}" for number in range(count)]
    policies = documents(names, smoked=names[:40], hooks=["check"], watching=True, first=MAX_OF_TARGET)
    own = tuple(f"{'s' * 51}-{name.partition('-')[2]}" for name in OWN)
    stack = TargetStack(
        "t", "222222222222", "ap-southeast-99", "r" * 64, "e" * 128,
        tuple(policy for policy in policies if policy["Statement"] != [NOTHING_MORE]), own,
    )  # fmt: skip
    assert len(template(stack).encode()) < 1_000_000
    key = f"arn:aws-us-gov:kms:ap-southeast-99:222222222222:key/mrk-{'0' * 32}"
    found = resolved(stack, {"KmsKeyArn": key}, partition="aws-us-gov")["Resources"]
    role = found["TargetRole"]["Properties"]
    assert sum(len(_compact(policy["PolicyDocument"])) for policy in role["Policies"]) <= 10_240
    assert len(_compact(role["AssumeRolePolicyDocument"])) <= 2_048
    managed = [each for each in found.values() if each["Type"] == "AWS::IAM::ManagedPolicy"]
    assert len(managed) == len(stack.policies) - 1 <= MANAGED
    assert all(len(_compact(each["Properties"]["PolicyDocument"])) <= 6_144 for each in managed)
    assert all(
        allowed(role_documents(found, "TargetRole"), "lambda:UpdateAlias",
                f"arn:aws-us-gov:lambda:ap-southeast-99:222222222222:function:{name}")
        for name in names
    )  # fmt: skip


def _compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def test_more_names_than_fit_are_refused_with_the_targets_name(tmp_path: Path) -> None:
    functions = ", ".join(f"{'x' * 60}{number:04}: {{}}" for number in range(300))
    text = GATE.replace("functions: {", f"functions: {{{functions}, ").replace(
        "dev: {}", "dev: {target: pay}"
    )
    with pytest.raises(AssertionError, match=r"target `pay`: the 302 names in `functions`.*combine several"):
        gate_of(tmp_path, text.replace("functions: [payments]", "functions: [payments, x*]"))


# Who may be the role


def trust(resources: Json) -> list[Json]:
    return [resources["TargetRole"]["Properties"]["AssumeRolePolicyDocument"]]


GOOD: Final = {"sts:ExternalId": "3c9e", "sts:SourceIdentity": "project-1-job-2"}


@pytest.mark.parametrize(
    ("principal", "context", "enters"),
    [
        (DEPLOYER, GOOD, True),
        (DEPLOYER, {"sts:SourceIdentity": "project-1-job-2"}, False),
        (DEPLOYER, {**GOOD, "sts:ExternalId": "ffee"}, False),  # another target's
        (DEPLOYER, {**GOOD, "sts:ExternalId": "3C9E"}, False),
        (DEPLOYER, {"sts:ExternalId": "3c9e"}, False),
        ("arn:aws:iam::111111111111:role/sluicegate-GatewayRole-1", GOOD, False),
        ("arn:aws:iam::333333333333:role/sluicegate-DeployerRole-1", GOOD, False),
        ("arn:aws:iam::111111111111:root", GOOD, False),
        ("arn:aws:iam::222222222222:role/sluicegate-DeployerRole-1", GOOD, False),
    ],
)
def test_only_the_deployer_enters_with_the_external_id_for_somebody(
    resources: Json, principal: str, context: dict[str, str], enters: bool
) -> None:
    assert allowed(trust(resources), "sts:AssumeRole", "*", context, principal=principal) is enters


def test_the_deployer_says_for_whom(resources: Json) -> None:
    for action in ("sts:SetSourceIdentity", "sts:TagSession"):
        assert allowed(trust(resources), action, "*", {}, principal=DEPLOYER)
    assert not allowed(trust(resources), "sts:AssumeRoleWithWebIdentity", "*", GOOD, principal=DEPLOYER)


def test_a_session_is_short(resources: Json) -> None:
    assert resources["TargetRole"]["Properties"]["MaxSessionDuration"] == 3_600


# What the role may do


@pytest.mark.parametrize(
    ("action", "resource", "may"),
    [
        *((action, f"{HERE}orders-api", True) for action in permissions.ACTIONS),
        ("lambda:UpdateAlias", f"{HERE}orders-api:prod", True),
        ("lambda:InvokeFunction", f"{HERE}orders-api:7", True),  # its stage has a smoke test
        ("lambda:InvokeFunction", f"{HERE}orders-api", False),
        ("lambda:UpdateFunctionCode", f"{HERE}payments", False),  # no rule lets it into this target
        ("lambda:UpdateFunctionCode", f"{HERE}internal", False),
        ("lambda:UpdateFunctionCode", HERE.replace("222222222222", "111111111111") + "orders-api", False),
        ("lambda:UpdateFunctionCode", HERE.replace("eu-central-1", "us-east-1") + "orders-api", False),
        ("lambda:DeleteFunction", f"{HERE}orders-api", False),
        ("lambda:UpdateFunctionConfiguration", f"{HERE}orders-api", False),
        ("lambda:AddPermission", f"{HERE}orders-api", False),
        ("iam:PassRole", "arn:aws:iam::222222222222:role/anything", False),
        ("cloudwatch:DescribeAlarms", "*", True),
        ("cloudwatch:GetMetricData", "*", True),
        ("cloudwatch:SetAlarmState", "*", False),
        ("s3:GetObject", OBJECT, True),
        ("s3:GetObjectVersion", OBJECT, True),
        ("s3:PutObject", OBJECT, True),
        ("s3:ListBucket", BUCKET, True),
        ("s3:ListAllMyBuckets", "*", False),
        ("s3:DeleteObject", OBJECT, False),
        ("s3:PutBucketPolicy", BUCKET, False),
        ("s3:PutObject", "arn:aws:s3:::another/orders-api/0a1b", False),
        ("kms:Decrypt", "arn:aws:kms:eu-central-1:222222222222:key/1", False),
        ("events:PutEvents", BUS, False),
    ],
)
def test_the_role_reaches_this(resources: Json, action: str, resource: str, may: bool) -> None:
    assert allowed(role_documents(resources, "TargetRole"), action, resource, OURS) is may


def test_a_bucket_that_somebody_else_made_is_not_its_bucket(resources: Json) -> None:
    for action in ("s3:GetObject", "s3:PutObject"):
        theirs = {"aws:ResourceAccount": "666666666666"}
        assert not allowed(role_documents(resources, "TargetRole"), action, OBJECT, theirs)


def test_a_target_without_smoke_and_watch_invokes_and_reads_nothing(stacks: dict[str, TargetStack]) -> None:
    found = role_documents(resolved(stacks["pay"])["Resources"], "TargetRole")
    there = "arn:aws:lambda:us-east-1:222222222222:function:"
    assert allowed(found, "lambda:UpdateFunctionCode", f"{there}payments")
    assert allowed(found, "lambda:InvokeFunction", f"{there}check")  # the hook
    assert not allowed(found, "lambda:InvokeFunction", f"{there}payments:7")
    assert not allowed(found, "cloudwatch:DescribeAlarms", "*")
    assert not allowed(found, "lambda:UpdateFunctionCode", f"{there}orders-api")


@pytest.mark.parametrize("own", OWN)
def test_sluicegates_own_functions_are_denied(stacks: dict[str, TargetStack], own: str) -> None:
    """Should the target be the account and region of the stack, and whatever the gate file says."""
    stack = replace(stacks["prod-eu"], policies=tuple(documents(["**"], smoked=["**"])[:1]))
    found = role_documents(resolved(stack)["Resources"], "TargetRole")
    assert allowed(found, "lambda:UpdateFunctionCode", f"{HERE}anything")
    for action in ("lambda:UpdateFunctionCode", "lambda:InvokeFunction", "lambda:UpdateAlias"):
        assert not allowed(found, action, f"{HERE}{own}")
        assert not allowed(found, action, f"{HERE}{own}:live")


def test_a_key_is_used_by_s3_alone(stacks: dict[str, TargetStack]) -> None:
    key = "arn:aws:kms:eu-central-1:222222222222:key/1"
    found = role_documents(resolved(stacks["prod-eu"], {"KmsKeyArn": key})["Resources"], "TargetRole")
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allowed(found, action, key, {"kms:ViaService": "s3.eu-central-1.amazonaws.com"})
        assert not allowed(found, action, key, {"kms:ViaService": "lambda.eu-central-1.amazonaws.com"})
        assert not allowed(found, action, key)
        assert not allowed(found, action, f"{key}2", {"kms:ViaService": "s3.eu-central-1.amazonaws.com"})


def test_who_looks_for_drift_may_do_nothing_else_there(stacks: dict[str, TargetStack]) -> None:
    """Whatever the role is given: by its own policies, and by one that somebody attaches."""
    looks = "arn:aws:iam::111111111111:role/sluicegate-DriftRole-1"
    resources = resolved(stacks["prod-eu"], {"DriftRoleArn": looks})["Resources"]
    trust = [resources["TargetRole"]["Properties"]["AssumeRolePolicyDocument"]]
    external_id = stacks["prod-eu"].external_id

    def enters(source: str | None, given: str = external_id, who: str = looks) -> bool:
        context = {"sts:ExternalId": given} | ({"sts:SourceIdentity": source} if source else {})
        return allowed(trust, "sts:AssumeRole", "*", context, principal=who)

    assert enters("sluicegate-drift")
    assert not enters(None)
    assert not enters("project-4213-job-302")
    assert not enters("sluicegate-drift", given="another")
    assert not allowed(trust, "sts:TagSession", "*", {"sts:ExternalId": external_id}, principal=looks)

    more = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    found = [*role_documents(resources, "TargetRole"), more]
    session = {"aws:SourceIdentity": "sluicegate-drift"}
    for action in (*permissions.LOOKING, permissions.EVENT_SOURCES):
        assert allowed(found, action, f"{HERE}payments", session)
    for action in (*permissions.ACTIONS, permissions.INVOKE, "s3:PutObject", "kms:Decrypt", "iam:PassRole"):
        assert allowed(found, action, f"{HERE}payments", session) is (action in permissions.LOOKING)
        assert allowed(found, action, f"{HERE}payments", {"aws:SourceIdentity": "project-1-job-2"})


def test_without_the_role_that_looks_for_drift_nobody_else_enters(stacks: dict[str, TargetStack]) -> None:
    trust = resolved(stacks["prod-eu"])["Resources"]["TargetRole"]["Properties"]["AssumeRolePolicyDocument"]
    assert [one["Principal"] for one in trust["Statement"]] == [{"AWS": DEPLOYER}] * 2


def test_roles_can_be_bounded(stacks: dict[str, TargetStack]) -> None:
    boundary = "arn:aws:iam::222222222222:policy/boundary"
    found = resolved(stacks["prod-eu"], {"PermissionsBoundary": boundary})["Resources"]
    for name in ("TargetRole", "AlarmsRole"):
        assert found[name]["Properties"]["PermissionsBoundary"] == boundary


# The bucket

WRITER: Final = {
    "aws:SecureTransport": "true",
    "aws:userid": f"{'A' * 21}:01J0000000000000000000000",
    "s3:if-none-match": "*",
}


def bucket(resources: Json, action: str, **changes: str | None) -> bool:
    """Whether the bucket's policy lets through what the caller's own policies allow."""
    own = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}]}
    given = {key.replace("_", ":").replace("-if", ":if"): value for key, value in changes.items()}
    context = {key: value for key, value in {**WRITER, **given}.items() if value is not None}
    document = resources["CopyBucketPolicy"]["Properties"]["PolicyDocument"]
    return allowed([own, document], action, OBJECT, context, principal="arn:aws:iam::222222222222:role/r")


def test_the_role_alone_writes_each_copy_once(resources: Json) -> None:
    assert bucket(resources, "s3:PutObject")
    assert bucket(resources, "s3:GetObject")
    assert not bucket(resources, "s3:PutObject", aws_userid=f"{'B' * 21}:admin")
    assert not bucket(resources, "s3:PutObject", aws_userid=None)
    assert not bucket(resources, "s3:PutObject", **{"s3_if-none-match": None})
    assert not bucket(resources, "s3:GetObject", aws_SecureTransport="false")
    assert not bucket(resources, "s3:DeleteObject")
    assert not bucket(resources, "s3:DeleteObjectVersion")


def test_the_bucket_is_closed_and_its_copies_expire(resources: Json) -> None:
    found = resources["CopyBucket"]
    properties = found["Properties"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert found["DeletionPolicy"] == "RetainExceptOnCreate"
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert all(rule["Status"] == "Enabled" for rule in rules.values())
    assert rules["expired-copies"]["ExpirationInDays"] == 30


# Alarms


def test_the_rule_sends_alarms_that_fire_to_the_bus_and_nothing_else(resources: Json) -> None:
    rule, role = resources["AlarmsRule"]["Properties"], resources["AlarmsRole"]["Properties"]
    assert rule["EventPattern"] == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"state": {"value": ["ALARM"]}},
    }
    # A bus takes no input transformer and no retry policy as a target (aws/aws-cdk#28735).
    arn = "arn:aws:iam::222222222222:role/sluicegate-target-eu-central-1-alarms"
    assert rule["Targets"] == [{"Id": "sluicegate", "Arn": BUS, "RoleArn": arn}]
    source = f"arn:aws:events:eu-central-1:222222222222:rule/{rule['Name']}"
    mine = {"aws:SourceAccount": "222222222222", "aws:SourceArn": source}
    own = [role["AssumeRolePolicyDocument"]]
    assert allowed(own, "sts:AssumeRole", "*", mine, principal="events.amazonaws.com")
    for change in ({"aws:SourceAccount": "333333333333"}, {"aws:SourceArn": source + "-2"}):
        assert not allowed(own, "sts:AssumeRole", "*", mine | change, principal="events.amazonaws.com")
    assert not allowed(own, "sts:AssumeRole", "*", mine, principal=DEPLOYER)
    documents_ = [policy["PolicyDocument"] for policy in role["Policies"]]
    assert allowed(documents_, "events:PutEvents", BUS)
    assert not allowed(documents_, "events:PutEvents", BUS + "-2")
    assert not allowed(documents_, "events:PutRule", BUS)


@pytest.mark.parametrize(
    ("partition", "region", "bus", "heard"),
    [
        ("aws", "eu-central-1", "us-east-1", True),
        ("aws-cn", "cn-north-1", "cn-north-1", True),
        ("aws-cn", "cn-north-1", "cn-northwest-1", False),
        ("aws-us-gov", "us-gov-east-1", "us-gov-west-1", False),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1", True),
    ],
)
def test_where_events_do_not_cross_regions_no_rule_sends_them(
    stacks: dict[str, TargetStack], partition: str, region: str, bus: str, heard: bool
) -> None:
    stack = replace(stacks["prod-eu"], region=region)
    arn = f"arn:{partition}:events:{bus}:111111111111:event-bus/sluicegate"
    found = resolved(stack, {"EventBusArn": arn}, partition=partition)["Resources"]
    assert ("AlarmsRule" in found, "AlarmsRole" in found) == (heard, heard)


# The digest


def test_the_digest_is_where_it_can_be_seen(stacks: dict[str, TargetStack]) -> None:
    stack = stacks["prod-eu"]
    found = resolved(stack)
    assert found["Outputs"]["Digest"]["Value"] == stack.digest
    tags = {tag["Key"]: tag["Value"] for tag in found["Resources"]["TargetRole"]["Properties"]["Tags"]}
    assert tags == {"sluicegate:target": "prod-eu", "sluicegate:digest": stack.digest}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("external_id: 3c9e", "external_id: 3c9f", {"prod-eu"}),
        ("role: Deploy+1", "role: Deploy+2", {"prod-us"}),
        ("prod: {target: prod-eu, smoke: {payload: 1},", "prod: {target: prod-eu,", {"prod-eu"}),
        ("smoke: {hook: check}", "smoke: {hook: probe}", {"pay"}),
        ("functions: [payments]", "functions: [payments, internal]", {"pay"}),
        ("functions: {orders-*: {}", "functions: {orders-*: {}, orders: {}", set()),
        ('claims: {project_id: "1"}', 'claims: {project_id: "2"}', set()),
        ("dev: {}", "dev: {smoke: {payload: 1}}", set()),
        ("stages: [dev, pay]", "stages: [dev, pay, prod]", {"prod-eu"}),
    ],
)
def test_a_digest_changes_with_what_the_template_is_made_of(
    tmp_path: Path, stacks: dict[str, TargetStack], old: str, new: str, changed: set[str]
) -> None:
    assert old in GATE
    now = stacks_of(tmp_path, GATE.replace(old, new))
    assert {name for name, stack in now.items() if stack.digest != stacks[name].digest} == changed


def test_a_comment_of_the_template_makes_no_target_old(
    stacks: dict[str, TargetStack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stacks["pay"].digest
    text = target_template.SKELETON.read_text()
    for more, same in (
        ("# A comment.\n", True),
        ("  # Another.\n", True),
        ("  Another: {Value: 1}\n", False),
    ):
        (tmp_path / "target.yaml").write_text(text + more)
        monkeypatch.setattr(target_template, "SKELETON", tmp_path / "target.yaml")
        assert (replace(stacks["pay"]).digest == before) is same


def test_files_of_targets_that_are_gone_go_too(stacks: dict[str, TargetStack], tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").write_text("")
    (tmp_path / "mine.txt").write_text("")
    target_template.write(stacks, tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(first) == {"pay.yaml", "prod-eu.yaml", "prod-us.yaml", "mine.txt"}
    target_template.write(stacks, tmp_path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


# Any gate file

PARTS: Final = ("a", "b", "a-*", "*-b", "a*b", "ab-c", "a-b")
NAMES: Final = ("a", "b", "a-b", "a-c", "ab-c", "x-b", "sluice")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4, unique=True),
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(PARTS), min_size=1, max_size=3, unique=True),
            st.lists(st.sampled_from(["dev", "one", "two", "other"]), min_size=1, max_size=3, unique=True),
        ),
        max_size=3,
    ),
)
def test_a_role_reaches_what_a_rule_grants_there_and_nothing_that_none_can(
    tmp_path: Path, functions: list[str], granted: list[tuple[list[str], list[str]]]
) -> None:
    rules = "".join(
        f'  - {{name: r{number}, claims: {{project_id: "1"}}, allow: {{actions: [deploy],'
        f" functions: {_quoted(names)}, stages: {_quoted(stages)}}}}}\n"
        for number, (names, stages) in enumerate(granted)
    )
    entries = ", ".join(f"'{name}': {{}}" for name in functions)
    text = (
        "version: 1\n"
        "issuers: {corp: {url: 'https://gitlab.example.com', audience: 'https://deploy.example.com'}}\n"
        "targets:\n"
        "  here: {account: '222222222222', region: eu-central-1, external_id: 3c9e}\n"
        "  there: {account: '333333333333', region: eu-central-1, external_id: 3c9e}\n"
        "stages: {dev: {}, one: {target: here}, two: {target: here}, other: {target: there}}\n"
        f"functions: {{{entries}}}\nrules:{' []' if not rules else ''}\n{rules}"
    )
    found = stacks_of(tmp_path, text)
    for name, stages in (("here", {"one", "two"}), ("there", {"other"})):
        stack = found[name]
        documents_ = role_documents(resolved(stack)["Resources"], "TargetRole")
        for function in NAMES:
            arn = f"arn:aws:lambda:eu-central-1:{stack.account}:function:{function}"
            covering = [entry for entry in functions if patterns.compile(entry).matches(function)]
            wanted = [pattern for names, there in granted if stages & set(there) for pattern in names]
            may = allowed(documents_, "lambda:UpdateFunctionCode", arn)
            if covering and any(patterns.compile(pattern).matches(function) for pattern in wanted):
                assert may, (function, text)
            if not any(
                patterns.overlap(patterns.compile(pattern), patterns.compile(entry))
                for pattern in wanted
                for entry in covering
            ):
                assert not may, (function, text)


def _quoted(names: list[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"
