"""Conditional requests (RFC 9110 section 13): what If-Match and If-None-Match say of an epoch."""

from __future__ import annotations

from sdp.http1 import Headers
from sdp.http1.fields import ANY, AnyTag, EntityTag, parse_entity_tags
from sdp.stream.catalog import Epoch

__all__ = ["Tags", "entity_tags", "matches", "names"]

Tags = list[EntityTag] | AnyTag | None
"""A field's entity tags; ``*`` is ANY, and None is no such field."""


def entity_tags(headers: Headers, name: bytes) -> Tags:
    """Return what the field ``name`` (in lower case) says. ProtocolError where it is malformed."""
    value = headers.combined(name)
    return None if value is None else parse_entity_tags(value)


def matches(tags: Tags, epoch: Epoch | None) -> bool:
    """Whether an If-Match, or no such field, holds for the epoch (RFC 9110 section 13.1.1, strong comparison)."""
    if tags is None:
        return True
    if epoch is None:
        return False
    return tags is ANY or any(not weak and opaque.decode("latin-1") == epoch.id for weak, opaque in tags)


def names(tags: Tags, epoch: Epoch | None) -> bool:
    """Whether an If-None-Match names the epoch (RFC 9110 section 13.1.2, weak comparison), and so does not hold."""
    if tags is None or epoch is None:
        return False
    return tags is ANY or any(opaque.decode("latin-1") == epoch.id for _, opaque in tags)
