"""Why an upload cannot be used."""

from __future__ import annotations


class Refused(Exception):
    """An upload cannot be used: a stable public code and a sentence safe to show."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
