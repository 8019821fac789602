"""Names of jobs and files."""

from __future__ import annotations

import re

from workers.ids import new_id


def test_ids_are_unique_words_in_the_order_of_time() -> None:
    """Each id has the noun and 26 characters that sort as they were made."""
    ids = [new_id("video") for _ in range(1000)]

    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"video_[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)
    assert new_id("file").startswith("file_")
