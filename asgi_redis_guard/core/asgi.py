"""The types of the ASGI specification (version 3), as they are used here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

#: Frameworks disagree on the type (mutable mappings, unions of TypedDicts); anything stricter fits some of them only.
Scope = Any
Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Header fields as ASGI carries them: lower-case name, value; order and repetition kept.
Headers = list[tuple[bytes, bytes]]
