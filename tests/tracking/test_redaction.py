"""Secrets never leave."""

from __future__ import annotations

import pytest

from automl.tracking.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql+psycopg://ann:pa:ss/w0rd@host:5432/db?x=1", "at postgresql+psycopg://ann:***@host:5432/db?x=1"),
        ("host=h password=sesame user=u", "host=h password=*** user=u"),
        ("{'API_KEY': 'sesame'}", "{'API_KEY': '***'}"),
        ("RAY_AUTH_TOKEN=sesame, more", "RAY_AUTH_TOKEN=***, more"),
        ("Authorization: Bearer sesame.x-y==", "Authorization: Bearer ***"),
        ("?sslpassword=sesame&sslmode=require", "?sslpassword=***&sslmode=require"),
        ("64 tokens in 3 s: loss is NaN at epoch 3", "64 tokens in 3 s: loss is NaN at epoch 3"),
        ("sqlite:///runs/automl.db", "sqlite:///runs/automl.db"),
    ],
)
def test_redacted_hides_secrets_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown
