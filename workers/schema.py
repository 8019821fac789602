"""Which tables the job database has, and which this code knows.

Changes only ever add: a table, a column that rows and processes of before do without, an index. So processes of an
older version go on working on a database that a newer one has brought forward, and can start on it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """The revision that a database is at (None: it is empty), and those that this code knows, the newest first."""

    found: str | None
    known: tuple[str, ...]

    @property
    def is_behind(self) -> bool:
        """Whether something is missing that this code needs."""
        return self.found is None or self.found in self.known[1:]

    @property
    def is_ahead(self) -> bool:
        """Whether a newer version was here."""
        return self.found is not None and self.found not in self.known


def read_schema(connection: Connection) -> Schema:
    """Look which tables a database has."""
    return Schema(MigrationContext.configure(connection).get_current_revision(), _known())


def migrate(connection: Connection) -> Schema:
    """Bring a database to the tables of this code, unless it is there, or beyond; answers where it was."""
    schema = read_schema(connection)
    if schema.is_behind:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return schema


def announce(schema: Schema) -> None:
    """Log how a database was that was just brought to this code's tables."""
    if schema.is_behind:
        logger.info("database_migrated", was=schema.found, now=schema.known[0])
    elif schema.is_ahead:
        logger.warning("database_is_newer", found=schema.found, known=schema.known[0])


@cache
def _known() -> tuple[str, ...]:
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
