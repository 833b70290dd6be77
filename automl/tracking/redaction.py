"""What must never leave the process in a text: passwords in URLs, and what follows a word such as `token`."""

from __future__ import annotations

import re

HIDDEN = "***"
_IN_URL = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<head>\b[\w-]*(?:password|passwd|pwd|token|secret|api[_-]?key|credentials?)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<head>\bbearer\s+)[\w.~+/-]+=*", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return the text with every secret in it hidden; what is no secret may be hidden too, never the other way."""
    for pattern in (_IN_URL, _NAMED, _BEARER):
        text = pattern.sub(rf"\g<head>{HIDDEN}", text)
    return text
