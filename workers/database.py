"""The connection to the job database: short transactions on SQLite or PostgreSQL, on the database's own clock.

Every error of the driver leaves this module as `StoreUnavailable`.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Float, create_engine, event, func, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from workers.errors import StoreUnavailable
from workers.failpoints import after_commit, before_commit, reach, transaction_name
from workers.schema import Schema, migrate, read_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from psycopg import Connection as PsycopgConnection
    from sqlalchemy import Executable, Row
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.orm import DeclarativeBase
    from sqlalchemy.sql.elements import ColumnElement

BUSY_TIMEOUT_MS = 10_000
# When a process stands still within a transaction, or its machine is gone, PostgreSQL takes the transaction back after
# that time, and nobody waits for its locks any more. Others last milliseconds.
IDLE_TIMEOUT_MS = 10_000
# So that it is noticed within half a minute, not in two hours, when PostgreSQL's own machine is gone.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
EVENT_LOCK = 0x6B657976  # advisory locks of PostgreSQL; any fixed numbers
MIGRATION_LOCK = EVENT_LOCK + 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction and the database's time at its start, in unix seconds."""

    session: Session
    now: float

    def lock_events(self) -> None:
        """Make event rows commit in the order of their numbers, so that one cursor can follow all of them.

        Taken last in a transaction. SQLite has one writer at a time anyway.
        """
        self._lock(EVENT_LOCK)

    def lock_digest(self, digest: str) -> None:
        """Let nobody else decide on a SHA-256 (in hexadecimal) at the same time; taken before `lock_events`."""
        self._lock(int.from_bytes(bytes.fromhex(digest)[:8], signed=True))

    def insert(self, table: type[DeclarativeBase]) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that can say what happens to a row that another process has made first."""
        return postgresql.insert(table) if self._is_postgresql else sqlite.insert(table)

    @property
    def _is_postgresql(self) -> bool:
        return self.session.get_bind().dialect.name == "postgresql"

    def _lock(self, number: int) -> None:
        if self._is_postgresql:
            self.session.execute(select(func.pg_advisory_xact_lock(number)))


class Database:
    """The job database behind a URL.

    `clock` replaces the database's own clock, in unix seconds: tests let days pass with it.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        self.engine = open_engine(url)
        self._clock = _clock(self.engine.dialect.name)
        self._given_clock = clock
        self._ask_time = select(self._clock)
        self._reader = self.engine.execution_options(read_only=True)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Run one transaction that changes something; it commits when the block ends without an error.

        Raises: StoreUnavailable.
        """
        opened_by = transaction_name()
        with _translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield Transaction(session, self._now(session))
            reach(before_commit(opened_by))
        reach(after_commit(opened_by))

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Run one transaction that only reads, without waiting for a writer.

        Raises: StoreUnavailable.
        """
        with _translated(), Session(self._reader, expire_on_commit=False) as session, session.begin():
            yield Transaction(session, self._now(session))

    def glance(
        self, statement: Executable, parameters: Iterable[Mapping[str, object]]
    ) -> tuple[list[Row[*tuple[Any, ...]]], float]:
        """The rows of a prepared query, run once for each set of parameters, and the time.

        For what is asked thousands of times a second: the query is built once, at import, and what it costs beyond the
        driver is a fraction of a session. Raises: StoreUnavailable.
        """
        with _translated(), self._reader.connect() as connection:
            rows = [row for given in parameters for row in connection.execute(statement, given)]
            now = self._given_clock() if self._given_clock else float(connection.scalar(self._ask_time) or 0.0)
            return rows, now

    def schema(self) -> Schema:
        """Which tables it has. Raises: StoreUnavailable."""
        with _translated(), self._reader.connect() as connection:
            return read_schema(connection)

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    def _now(self, session: Session) -> float:
        if self._given_clock is not None:
            return self._given_clock()
        return float(session.scalar(self._ask_time) or 0.0)


def open_engine(url: str) -> Engine:
    """Make an engine with this project's transaction rules for SQLite or PostgreSQL."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return _postgresql_engine(parsed)


def upgrade(database_url: str) -> Schema:
    """Bring the database to this version's tables; safe when many processes start at once, and when nothing is to do.

    A database that a newer version has brought forward is left as it is: it has all that this version needs. Answers
    how it was.
    Raises: StoreUnavailable.
    """
    engine = open_engine(database_url)
    try:
        with _translated(), _migration_lock(engine), engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # a migration may think for longer than a transaction of ours
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            return migrate(connection)
    finally:
        engine.dispose()


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(
        url, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args={"connect_timeout": 10, **_KEEPALIVES}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: PsycopgConnection[object], _record: object) -> None:
        connection.autocommit = True
        # Not among the options of the connection: poolers refuse those.
        connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}")
        connection.autocommit = False

    return engine


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=32,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late to take the write lock first
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads and then writes cannot wait for the lock in the middle: writers take it at once.
        mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _clock(dialect: str) -> ColumnElement[Any]:
    if dialect == "sqlite":
        return literal_column("(julianday('now') - 2440587.5) * 86400.0", Float)
    return func.extract("epoch", func.clock_timestamp())


@contextmanager
def _migration_lock(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "postgresql":
        # Not in a transaction: this one does nothing for as long as the migration takes.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": MIGRATION_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": MIGRATION_LOCK})
        return
    with Path(f"{engine.url.database}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise  # a bug of ours, not an outage
    except (OperationalError, PoolTimeout) as error:
        raise StoreUnavailable from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable from error
        raise
