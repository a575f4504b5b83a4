"""Find Sluicegate's errors in a job's log, as GitLab stores or shows it, each once.

A log may contain anything, including ANSI sequences and imitations of our lines. Only findings leave here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sluicegate_cli.doctor.api_checks import CODES, REACH, of_problem
from sluicegate_cli.doctor.findings import API, DEPLOYED, FORM, CheckVerdict, Finding
from sluicegate_cli.doctor.token_checks import ASK

_MAX_FINDINGS: Final = 20  # findings
_MAX_DOCUMENT: Final = 64 * 1024  # characters of one JSON document
_MAX_ATTEMPTS: Final = 200  # to parse one, in a whole log

# ECMA-48's control sequences, and operating system commands.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# https://docs.gitlab.com/ci/jobs/job_logs/ (sections), and gitlab-runner's FF_TIMESTAMPS: stream, O or E, and
# `+` if the line continues the one before.
_SECTION: Final = re.compile(r"section_(?:start|end):[0-9]+:[^\r\n]*")
_STAMP: Final = re.compile(r"[0-9-]{10}T[0-9:.]{8,20}Z [0-9a-f]{2}[OE](?P<on>[+ ]?)")

_CODE: Final = "|".join(sorted(CODES))
_COMMAND: Final = re.compile(rf"^error: .{{0,200}}\[(?P<code>{_CODE})(?: \([0-9]{{3}}\))?\]$")
_PLAIN: Final = re.compile(rf"^(?P<code>{_CODE}): (?P<detail>.+)$")
_PLAIN_RULE: Final = re.compile(
    r"^rule (?P<quote>['\"])(?P<name>.*)(?P=quote) (?P<what>does not match (?P<failed>.+)|matches, but .*)$"
)
_ENDED: Final = re.compile(
    r"^(?:(?P<status>failed|rolled_back|rejected|aborted): (?P<message>.+) \[(?P<code>[a-z_]{1,64})\]"
    r"|[0-9-]{10}T[0-9:.]{8,16}Z\s+(?P<text_status>failed|rolled_back|rejected|aborted)\s+(?P<text>.+)$)"
)

_LABEL: Final = re.compile(r"^  (failed check|running|hint|note|request id): (.*)$")
_MEMBERS: Final = {"failed check": "check", "running": "deployment"}

_OF_REASON: Final[Mapping[str, str]] = {
    "function_not_found": "Create the function in the stage's account and region, or correct its name.",
    "target_denied": "Deploy the gate file (`make deploy`): the target role is made from its `functions`.",
    "target_unreachable": "Deploy the target's stack, and enable its region for the account.",
    "aws_refused": "See the message: it has AWS's own words, and a retry would not help.",
    "artifact_not_found": "Run the job again, to upload the zip again.",
    "alias_moved": "Find out in CloudTrail who else changes the alias, and let only Sluicegate change it.",
    "smoke_failed": "See the new version's log for why its response is not what `smoke` expects.",
    "alarm": "See which alarm of `watch` fired, and why.",
    "metric": "See the new version's errors in its log, or relax the limit in `watch` if it is too strict.",
    "weights_refused": "Deploy once with all-at-once; `sluicegate doctor --function NAME` explains why.",
    "publish_failed": "See the message: Lambda cannot publish or run this code.",
    "unclear": "Send more requests during the bake, bake longer, or lower `min_samples`.",
    "alarm_missing": "Create the alarm named in `watch`, or correct its name.",
    "version_inactive": "Invoke that version once, then deploy again.",
    "version_not_found": "Deploy the artifact again, which publishes it again.",
    "version_unusable": "See the message, and deploy the artifact again: Lambda cannot run that version.",
    "source_changed": "Promote exactly what the source serves: see `sluicegate status FUNCTION`.",
    "approval_expired": "Deploy again, and get it approved in time.",
    "not_as_expected": "Check what the stage serves (`sluicegate status FUNCTION`), then retry.",
}

# The component's prefix of curl's message.
_CURL: Final = "^(?:error: the API could not be reached: )?"

# Messages of the command line, the component and curl:
# (pattern, check, what is wrong, what to change).
_LINES: Final = (
    (r"^Error: no ID token", FORM, "the job has no ID token", ASK),
    (
        r"^Error: the value given as the ID token is not one",
        FORM,
        "the value of the ID token contains spaces or special characters",
        ASK,
    ),
    (
        r"^Error: no endpoint",
        API,
        "the job has no address of the API",
        "Set SLUICEGATE_URL to the stack's output `Endpoint`.",
    ),
    (
        r"^Error: the endpoint ",
        API,
        "the API's address is invalid",
        "Set SLUICEGATE_URL to the stack's output `Endpoint`: https://, up to and including /v1.",
    ),
    (
        r"SLUICEGATE_(?:TOKEN|URL): (?:unbound variable|parameter not set)",
        FORM,
        "a variable of the script is not set",
        "Give the job `id_tokens: {SLUICEGATE_ID_TOKEN: …}` and the variable SLUICEGATE_URL.",
    ),
    (
        r"\bsluicegate: (?:command )?not found",
        API,
        "the command `sluicegate` is not installed in the job",
        "Install it in `before_script` (docs/start/deploy.md), or use the script with curl.",
    ),
    (
        r"^this is not a response of Sluicegate: ",
        API,
        "the response is not Sluicegate's",
        "Set the input `url` to the stack's output `Endpoint`, up to and including /v1.",
    ),
    (
        r"^error: the image has no curl: ",
        API,
        "the job's image has no curl",
        "Choose an image that has it, with the component's input `image`.",
    ),
    (
        rf"{_CURL}curl: \((?:5|6)\) ",
        API,
        "curl cannot resolve the host of the API or of a proxy",
        "Correct the host: it is in the stack's output `Endpoint`.",
    ),
    (
        rf"{_CURL}curl: \((?:7|28|35|52|56)\) ",
        API,
        "curl cannot reach the API",
        REACH,
    ),
    (
        rf"{_CURL}curl: \(60\) ",
        API,
        "curl does not trust the server's certificate",
        "If a proxy intercepts TLS, set SSL_CERT_FILE to its certificate. Otherwise correct the host.",
    ),
    (
        rf"{_CURL}curl: \(22\) .*\b(?:401|403|404|409|412|422|429|5[0-9]{{2}})\b",
        API,
        "the request was rejected, and the log does not have the response",
        "Call curl with --fail-with-body instead of --fail, and print the body, which has the reason.",
    ),
)


def of_log(text: str) -> list[Finding]:
    """Return the errors in the order of the log: the command's lines, the API's JSON or plain text."""
    lines = list(_lines(text))
    found: dict[Finding, None] = {}
    for finding in (*_of_documents("\n".join(lines)), *_of_lines(lines)):
        found.setdefault(finding)
        if len(found) == _MAX_FINDINGS:
            break
    if not found:
        found = dict.fromkeys(_of_tools(lines))
    return list(found)


def _lines(text: str) -> Iterator[str]:
    """Yield the original lines, without additions of GitLab and its runner, and without colours."""
    line = ""
    for raw in re.split(r"\r\n|\n|\r", _SECTION.sub("", _ANSI.sub("", text.replace("\0", "")))):
        stamp = _STAMP.match(raw)
        if stamp is None or stamp["on"] != "+":
            yield line.rstrip()
            line = ""
        line += raw[stamp.end() :] if stamp else raw
    yield line.rstrip()


def _of_documents(text: str) -> Iterator[Finding]:
    """Find problem details in JSON, on one or many lines, with their members in any order."""
    decoder = json.JSONDecoder()
    attempts = 0
    for match in re.finditer("urn:sluicegate:problem:", text):
        start = match.start()
        while attempts < _MAX_ATTEMPTS and (start := text.rfind("{", match.start() - 4096, start)) >= 0:
            attempts += 1
            try:
                document, length = decoder.raw_decode(text[start : start + _MAX_DOCUMENT])
            except (ValueError, RecursionError):
                continue
            if start + length > match.end() and isinstance(document, dict) and document.get("code") in CODES:
                yield of_problem(document)
                break


def _of_lines(lines: list[str]) -> Iterator[Finding]:
    for number, line in enumerate(lines):
        following = lines[number + 1 : number + 40]
        if match := _COMMAND.match(line):
            yield of_problem(_of_command(match["code"], following))
        elif match := _PLAIN.match(line):
            yield of_problem(_of_plain(match["code"], match["detail"], following))
        elif match := _ENDED.match(line):
            status, message = match["status"] or match["text_status"], match["message"] or match["text"]
            general = (
                "See its message, and `sluicegate status ID`. docs/reference/api.md, Reasons, explains more."
            )
            change = _OF_REASON.get(match["code"] or "", general)
            yield Finding(DEPLOYED, CheckVerdict.WRONG, f"the deployment ended {status}: {message}", change)


def _of_command(code: str, following: list[str]) -> Mapping[str, Any]:
    """Reconstruct the problem document from the command's report: detail, check and nearest rules."""
    document: dict[str, Any] = {"code": code}
    rules: list[dict[str, Any]] = []
    claims = values = 0  # the columns of the table of rules, once its head was seen
    for line in following:
        if label := _LABEL.match(line):
            document[_MEMBERS.get(label[1], "hint")] = label[2]
            claims = 0
        elif line.startswith("nearest rule "):
            claims, values = line.find("failed claim"), line.find("this job has")
        elif claims > 0 and line:
            if name := line[:claims].strip():
                rules.append({"rule": name, "failed": []})
            if rules and (claim := line[claims:values].strip()):
                value = line[values:].strip()
                failed = {"claim": claim, "value": None if value == "(not in the token)" else value}
                rules[-1]["failed"].append(failed)
        elif line.startswith("where "):
            document["detail"] = "fields of the request are invalid"
        elif line.startswith("  ") and "detail" not in document:
            document["detail"] = line.strip()
        elif "hint" in document:
            break
    return document | {"nearest": rules}


def _of_plain(code: str, detail: str, following: list[str]) -> Mapping[str, Any]:
    """Reconstruct the problem document from plain text: `code: detail`, then a line per nearest rule."""
    rules = []
    for line in following:
        match = _PLAIN_RULE.match(line)
        if match is None:
            break
        pairs = (part.partition("=") for part in (match["failed"] or "").split(", ") if part)
        failed = [{"claim": claim, "value": None if value == "None" else value} for claim, _, value in pairs]
        rules.append({"rule": match["name"], "failed": failed})
    return {"code": code, "detail": detail, "nearest": rules}


def _of_tools(lines: list[str]) -> Iterator[Finding]:
    for line in lines:
        for pattern, check, seen, change in _LINES:
            if re.search(pattern, line):
                yield Finding(check, CheckVerdict.WRONG, seen, change)
                break
