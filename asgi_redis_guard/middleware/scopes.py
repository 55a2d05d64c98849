"""The scope that the app gets: what the guards have found is added, what they edit of the request is edited. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.asgi import Scope
from ..core.steps import RequestEdits


def edited_scope(scope: Scope, facts: Mapping[str, Any], edits: Sequence[RequestEdits]) -> Scope:
    """Return the app's copy of the scope: facts added, headers and subprotocols edited. The original stays as it is."""
    if not facts and not edits:
        return scope
    copy = {**scope, **facts}
    for edit in edits:
        copy["headers"] = [
            *(field for field in copy["headers"] if field[0] not in edit.drop_headers),
            *edit.add_headers,
        ]
        if edit.drop_subprotocols:
            copy["subprotocols"] = [name for name in copy.get("subprotocols", ()) if name not in edit.drop_subprotocols]
    return copy
