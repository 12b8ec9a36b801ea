"""Addresses as they may be shown: without user, password and query."""

import re
from urllib.parse import urlsplit


def without_password(spec: str) -> str:
    """The spec as it may be shown: of an address no user, no password, no query."""
    if "://" not in spec:
        return spec
    scheme, _, rest = spec.partition("://")
    place, query, _ = rest.partition("?")
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?…' if query else ''}"


def without_secrets(text: str, spec: str) -> str:
    """A library's text in which addresses have neither user nor password, and the spec's query is gone."""
    if "://" not in spec:
        return text
    text = text.replace(spec, without_password(spec))
    query = urlsplit(spec).query
    return re.sub(r"//[^/\s]*@", "//", text.replace(query, "…") if query else text)
