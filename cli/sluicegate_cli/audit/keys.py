"""`sluicegate audit key`: the public keys of a stack's evidence, as `audit verify` takes them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.text import clean
from sluicegate_cli import output_file
from sluicegate_cli.options import stack_option
from sluicegate_cli.screen import Screen
from sluicegate_gatefile.files import UnusableFile, read_file

if TYPE_CHECKING:
    from sluicegate.evidence.notes import PublicKey
    from sluicegate_cli.doctor.aws_calls import AwsCalls

_MAX_FILE: Final = 65_536


class KeyParam(click.ParamType):
    """Public keys: one, or a file with one, or with one verifier key in each line."""

    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple["PublicKey", ...]:
        from sluicegate.evidence.notes import NoteError

        if isinstance(value, tuple):
            return value
        text = str(value)
        if not text.strip():
            self.fail("it is empty: is a variable unset in this job?", param, ctx)
        name = clean(text, 100)
        if not os.path.lexists(text):
            try:
                return _keys_in(text)
            except NoteError as error:
                self.fail(f"there is no file {name}, and it is not a key itself ({error})", param, ctx)
        try:
            return _keys_in(read_file(Path(text), _MAX_FILE).decode(errors="replace"))
        except (NoteError, UnusableFile) as error:
            self.fail(f"{name}: {clean(str(error))}", param, ctx)


def _keys_in(text: str) -> tuple["PublicKey", ...]:
    """Return one key, or one for each line. Raises NoteError."""
    from sluicegate.evidence.notes import read_key

    lines = text.split()
    if "-----" not in text and all(line.count("+") >= 2 for line in lines[:2]) and len(lines) > 1:
        return tuple(map(read_key, lines))
    return (read_key(text),)


evidence_stack_option = stack_option(
    "stack", default="sluicegate", show_default=True, help="Sluicegate's stack."
)


@click.command("key")
@evidence_stack_option
@click.option("--region", metavar="NAME", help="The stack's region.")
@click.option("--output", metavar="FILE", help="Write to this file. Default: standard output (`-`).")
@output_file.force_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
def key(stack: str, region: str | None, output: str | None, as_json: bool, *, force: bool) -> None:
    """Print the public key that signs a stack's evidence, with AWS credentials of your own.

    It reads the stack's outputs (cloudformation:DescribeStacks, ListStackResources) and asks KMS
    (kms:GetPublicKey). Take it once, and keep it where those who run the stack cannot change it: each `audit
    verify` is as good as this key. While keys are changed there are two, in a line each, the new one first.

    \b
      AWS_PROFILE=audit sluicegate audit key --output evidence.pub
      sluicegate audit verify november.ndjson --key evidence.pub
    """
    from sluicegate_cli.audit.commands import evidence_unavailable
    from sluicegate_cli.doctor.aws_calls import CouldNotCheck, connect

    path = output_file.chosen(output, output_file.STDOUT, as_json=as_json, force=force)
    screen = Screen(as_json=as_json)
    try:
        found = public_keys(connect(region, what="audit"), stack)
    except CouldNotCheck as error:
        screen.error(evidence_unavailable(error))
        sys.exit(error.exit)
    text = "".join(f"{one}\n" for one in found)
    if path == output_file.STDOUT:
        click.echo(text, nl=False)
    elif path:
        output_file.write(path, text.encode(), force=force)
        screen.note(f"wrote {path}: {len(found)} {'key' if len(found) == 1 else 'keys'}")
    keys = [{"arn": one.name, "id": one.key_id(one.name or "").hex(), "key": str(one)} for one in found]
    screen.document({"stack": stack, "keys": keys})


def public_keys(aws: "AwsCalls", stack: str) -> list["PublicKey"]:
    """Return the keys that sign a stack's heads, the newest first. Raises CouldNotCheck and UsageError."""
    from base64 import b64encode
    from dataclasses import replace

    from sluicegate.evidence.notes import NoteError, read_key
    from sluicegate_cli.doctor.aws_calls import CouldNotCheck
    from sluicegate_cli.doctor.findings import Finding
    from sluicegate_cli.doctor.stack import read_stack

    read = read_stack(aws, stack)
    if isinstance(read, Finding):
        raise click.UsageError(f"{read.seen}. {read.change}")
    if not read.outputs.get("EvidenceKeyArn"):
        raise click.UsageError(f"stack {stack} has no evidence: update it, or name Sluicegate's own stack")
    found = []
    for arn in (read.outputs["EvidenceKeyArn"], read.parameters.get("EvidencePreviousKeyArn", "")):
        if arn:
            data: bytes = aws.call("kms", "GetPublicKey", KeyId=arn)["PublicKey"]
            try:
                public = read_key(b64encode(data).decode())
            except NoteError as error:
                raise CouldNotCheck(f"{arn}: {error}") from None
            # Under its ARN, as the sealer signs with it.
            found.append(replace(public, name=arn))
    return found
