"""One field of a form that was sent as a request body. Pure: bytes in, bytes out, no matter what is in them.

What is found is compared with a secret and goes nowhere else, so that a body that others would read otherwise does no
harm. A field that is there twice, or in a body that is malformed before it, is not there.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

#: More fields than a form has; parsing stops there.
_MOST_FIELDS = 1000

#: RFC 2046 §5.1.1: at most 70 characters; quoted where it has others than those of a token.
_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)

#: RFC 7578 §4.2; a part with a file name is an upload.
_DISPOSITION = re.compile(rb'content-disposition:\s*form-data\s*;\s*name="([^"\r\n]*)"\s*$', re.IGNORECASE)


def is_form(content_type: bytes) -> bool:
    """Tell whether a body of this type is a form that `form_field` can read."""
    return _media_type(content_type) in (b"application/x-www-form-urlencoded", b"multipart/form-data")


def form_field(content_type: bytes, body: bytes, name: bytes) -> bytes | None:
    """Return the one value of a field of a form, None where there is none, several or no form at all."""
    if _media_type(content_type) == b"multipart/form-data":
        values = _multipart(content_type, body, name)
    else:
        values = _urlencoded(body, name)
    return values[0] if len(values) == 1 else None


def _media_type(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def _urlencoded(body: bytes, name: bytes) -> list[bytes]:
    """Read a body as the URL standard does (§5.1)."""
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        return []
    return [value.encode("latin-1") for key, value in pairs if key.encode("latin-1") == name]


def _multipart(content_type: bytes, body: bytes, name: bytes) -> list[bytes]:
    """Read a body as RFC 2046 §5.1.1 divides it and RFC 7578 names its parts."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return []
    parts = (b"\r\n" + body).split(b"\r\n--" + (found[1] or found[2]), _MOST_FIELDS)
    values = []
    for part in parts[1:]:  # what stands before the first boundary is no part
        if part.startswith(b"--"):
            break
        head, ended, content = part.partition(b"\r\n\r\n")
        if ended and _name_of(head) == name:
            values.append(content)
    return values


def _name_of(head: bytes) -> bytes | None:
    for line in head.split(b"\r\n"):
        if (found := _DISPOSITION.match(line)) is not None:
            return found[1]
    return None
