"""Share links and browsers' sessions, on every database and under a fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_requests import video_request

from workers.access import OPERATOR, USUAL_SCOPES, Limits
from workers.browser_sessions import BrowserSessions
from workers.errors import IllegalTransition, JobExpired, JobNotFound
from workers.job_store import JobStore
from workers.jobs import Output
from workers.key_store import KeyStore
from workers.share_links import (
    MAX_LIVE_LINKS,
    ShareLinkExpired,
    ShareLinkNotKnown,
    ShareLinkRevoked,
    ShareLinks,
    TooManyShareLinks,
    link_id_of,
    share_token,
)
from workers.upkeep import Upkeep

if TYPE_CHECKING:
    from tests.clocks import FakeClock
    from workers.access import ApiKey
    from workers.database import Database

TENANT = "acme"
RETENTION_S = 1000.0
OUTPUT = Output("outputs/x/1/video.mp4", "0" * 64, 10, 48, 24, 512, 320, 2.0)


@pytest.fixture
def store(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=RETENTION_S)


@pytest.fixture
def links(timed_database: Database) -> ShareLinks:
    """The links of the same database."""
    return ShareLinks(timed_database)


@pytest.fixture
def video(store: JobStore) -> str:
    """A completed video."""
    request = video_request()
    job_id = store.create(request, tenant=TENANT, metadata={}).id
    claimed = store.claim("worker", model=request.model, lease_s=60)
    assert claimed is not None
    store.complete(claimed[1], OUTPUT, usage={}, engine={})
    return job_id


@pytest.fixture
def keys(timed_database: Database) -> KeyStore:
    """The keys of the same database."""
    return KeyStore(timed_database, default_limits=Limits(requests_per_minute=60))


@pytest.fixture
def key(keys: KeyStore) -> ApiKey:
    """An active key."""
    return keys.create(tenant=TENANT, name="site", scopes=USUAL_SCOPES, actor=OPERATOR)[0]


@pytest.fixture
def sessions(timed_database: Database, keys: KeyStore) -> BrowserSessions:
    """The sessions of the same database."""
    return BrowserSessions(timed_database, keys)


def share(links: ShareLinks, video: str, *, life_s: float = 100.0) -> str:
    """Make a link; answers its id."""
    return links.create(video, tenant=TENANT, life_s=life_s, actor=OPERATOR).id


def test_link_shows_its_video_until_it_expires(links: ShareLinks, video: str, clock: FakeClock) -> None:
    """From its last moment on a link is told to have expired, and shows nothing."""
    link = share(links, video, life_s=100)

    assert links.open(link)[0].id == video
    clock.advance(99)
    assert links.open(link)[0].output == OUTPUT
    clock.advance(1)
    with pytest.raises(ShareLinkExpired):
        links.open(link)


def test_link_lives_no_longer_than_its_video(links: ShareLinks, video: str, store: JobStore) -> None:
    """A link for a month ends with a video that is kept for less; with a deleted one it is gone."""
    link = links.create(video, tenant=TENANT, life_s=1e6, actor=OPERATOR)

    assert link.expires_at == store.get(video, tenant=TENANT).expires_at
    store.delete(video, tenant=TENANT)
    with pytest.raises(ShareLinkNotKnown):
        links.open(link.id)


def test_revoked_link_shows_nothing(links: ShareLinks, video: str) -> None:
    """Revoking ends one link at once, twice as well as once, and leaves the others."""
    first, second = share(links, video), share(links, video)

    revoked = links.revoke(first, job_id=video, tenant=TENANT, actor=OPERATOR)
    again = links.revoke(first, job_id=video, tenant=TENANT, actor=OPERATOR)

    assert revoked == again
    with pytest.raises(ShareLinkRevoked):
        links.open(first)
    assert links.open(second)[0].id == video
    assert [link.id for link in links.of_job(video, tenant=TENANT)] == [second, first]


def test_only_the_owner_shares_and_revokes(links: ShareLinks, video: str) -> None:
    """To another tenant neither the video nor its links exist."""
    link = share(links, video)

    with pytest.raises(JobNotFound):
        links.create(video, tenant="rival", life_s=100, actor=OPERATOR)
    with pytest.raises(JobNotFound):
        links.of_job(video, tenant="rival")
    with pytest.raises(ShareLinkNotKnown):
        links.revoke(link, job_id=video, tenant="rival", actor=OPERATOR)


def test_only_what_is_finished_and_kept_can_be_shared(
    links: ShareLinks, video: str, store: JobStore, clock: FakeClock
) -> None:
    """A waiting video has nothing to show, an expired one nothing any more, and there is a most of links."""
    waiting = store.create(video_request(), tenant=TENANT, metadata={}).id
    with pytest.raises(IllegalTransition):
        share(links, waiting)
    for _ in range(MAX_LIVE_LINKS):
        share(links, video, life_s=10)
    with pytest.raises(TooManyShareLinks):
        share(links, video)
    clock.advance(11)
    share(links, video)
    clock.advance(RETENTION_S)
    with pytest.raises(JobExpired):
        share(links, video)


def test_token_cannot_be_guessed_from_its_link() -> None:
    """Only the signature of this installation opens a link, whole and unchanged."""
    token = share_token(b"ours", "share_1")

    assert link_id_of(b"ours", token) == "share_1"
    for forged in (
        "share_1",
        "share_1.",
        token[:-1],
        token.replace("share_1", "share_2"),
        share_token(b"x", "share_1"),
    ):
        with pytest.raises(ShareLinkNotKnown):
            link_id_of(b"ours", forged)


def test_session_stands_in_for_its_key_until_it_ends(sessions: BrowserSessions, key: ApiKey, clock: FakeClock) -> None:
    """It has the key's tenant and scopes, for its time or until it is closed; the secret is nowhere in the database."""
    session = sessions.open(key, life_s=100)
    other = sessions.open(key, life_s=100)

    found = sessions.verify(session.secret)
    assert found is not None
    assert (found.key.id, found.key.scopes, found.session_expires_at) == (key.id, key.scopes, session.expires_at)
    sessions.close(session.secret)
    sessions.close(session.secret)
    assert sessions.verify(session.secret) is None
    assert sessions.verify(other.secret) is not None
    clock.advance(100)
    assert sessions.verify(other.secret) is None


def test_session_ends_with_its_key(sessions: BrowserSessions, keys: KeyStore, key: ApiKey) -> None:
    """Revoking a key ends its sessions; one of a key that expires soon is no longer than it."""
    session = sessions.open(key, life_s=100)
    short, _ = keys.create(tenant=TENANT, name="short", scopes=USUAL_SCOPES, actor=OPERATOR, expires_in_s=10)

    keys.revoke(key.id, actor=OPERATOR)

    assert sessions.verify(session.secret) is None
    assert sessions.open(short, life_s=100).expires_at == short.expires_at


def test_old_links_are_swept(timed_database: Database, links: ShareLinks, video: str, clock: FakeClock) -> None:
    """They go once nobody needs to be told any more that they have expired."""
    link = share(links, video, life_s=10)
    upkeep = Upkeep(timed_database, retention_s=RETENTION_S)

    clock.advance(20)
    upkeep.forget_expired(after_s=50)
    with pytest.raises(ShareLinkExpired):
        links.open(link)
    clock.advance(50)
    upkeep.forget_expired(after_s=50)
    with pytest.raises(ShareLinkNotKnown):
        links.open(link)
