"""Addresses that may be shown: without user, password and query."""

import re
from urllib.parse import urlsplit


def without_password(spec: str) -> str:
    """The spec without the user, password and query of an address."""
    if "://" not in spec:
        return spec
    scheme, _, rest = spec.partition("://")
    place, query, _ = rest.partition("?")
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?…' if query else ''}"


def without_secrets(text: str, spec: str) -> str:
    """A library's message without users and passwords in addresses, and without the spec's query."""
    if "://" not in spec:
        return text
    text = text.replace(spec, without_password(spec))
    query = urlsplit(spec).query
    return re.sub(r"//[^/\s]*@", "//", text.replace(query, "…") if query else text)
