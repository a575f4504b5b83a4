"""A group of commands that suggests what a mistyped one may mean."""

from collections.abc import Mapping
from typing import ClassVar

import click


class SuggestingGroup(click.Group):
    """A group; `synonyms` are words that other tools use for its commands."""

    synonyms: ClassVar[Mapping[str, str]] = {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-"):
            from difflib import get_close_matches

            synonym = self.synonyms.get(name.lower())
            close = [synonym] if synonym else get_close_matches(name.lower(), names, n=1)
            suggestion = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{suggestion} `{ctx.command_path} --help` lists all.")
        return super().resolve_command(ctx, args)
