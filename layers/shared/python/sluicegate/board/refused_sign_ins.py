"""Put a refused sign-in into the evidence. security.md#evidence"""

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code
from sluicegate.board.context import BoardContext
from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.store.errors import StoreError
from sluicegate.store.sessions import SessionClient


def note_refusal(
    context: BoardContext, person: SessionUser, code: str, client: SessionClient, check: str | None = None
) -> None:
    """Note a refused sign-in. It stays refused if that fails: the log has it."""
    try:
        context.store.sessions.refuse(person, code, client, check)
    except (ClientError, BotoCoreError) as error:
        context.log("refusal_not_recorded", code=code, error=error_code(error))
    except StoreError as error:
        context.log("refusal_not_recorded", code=code, error=type(error).__name__)
