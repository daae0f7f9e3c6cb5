"""The header with a target's token, read anew for each request because tokens are rotated.

Nothing here, and no message, ever repeats a token.
"""

import os
import string
from typing import Final

from burnmeter.model import Target
from burnmeter.sources.answers import Refusal

TOKEN_BYTES: Final = 8192
"""More than any token has, and a guard against `token_file: /dev/zero`."""
TOKEN_LETTERS: Final = frozenset(string.ascii_letters + string.digits + string.punctuation)


def authorisation(target: Target) -> dict[str, str]:
    """Empty if the target needs no token. Raises Refusal if it leads to none."""
    who = f"{'probe' if target.origin == 'probe' else 'target'} `{target.name}`"
    return bearer(who, target.token_file, target.token_environment)


def bearer(who: str, token_file: str | None, token_environment: str | None) -> dict[str, str]:
    """The header with the token that these lead to. `who` it is for, in messages."""
    if token_file is not None:
        source = f"`token_file` of {who}"
        try:
            with open(token_file, "rb") as file:
                token = file.read(TOKEN_BYTES).decode("ascii", "replace").strip()
        except PermissionError:
            raise Refusal("no_permission", f"{source} may not be read by us") from None
        except OSError as error:
            raise Refusal("gone", f"{source} cannot be read: {error.strerror}") from None
    elif token_environment is not None:
        source = f"`token_environment` of {who}"
        token = os.environ.get(token_environment, "").strip()
    else:
        return {}
    if not token:
        raise Refusal("gone", f"{source} leads to no token: it is empty or not set")
    if not TOKEN_LETTERS.issuperset(token):
        raise Refusal("encoding", f"{source} leads to a token with characters no token may hold")
    return {"Authorization": f"Bearer {token}"}
