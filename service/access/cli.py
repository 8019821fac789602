"""Commands of access: `keyvid keys` makes, lists, rotates and revokes API keys, and sets limits of tenants.

They work on the database itself, so whoever may run them on the machine needs no key.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from workers.access import DEFAULT_TENANT, MOST_OF_A_LIMIT, OPERATOR, USUAL_SCOPES, ApiKey, Scope
from workers.errors import IllegalTransition, KeyNotKnown, StoreUnavailable
from workers.key_store import KeyStore

app = typer.Typer(no_args_is_help=True, add_completion=False)
keys = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys, and set limits of tenants.")
app.add_typer(keys, name="keys")

DAY_S = 86_400.0
HOUR_S = 3_600.0
PIPE_COLUMNS = 200  # a table that goes to a file or another program is not cut

DataDir = Annotated[Path | None, typer.Option(help="Folder of the installation; KEYVID_DATA_DIR otherwise.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Key = Annotated[str, typer.Argument(help="Id of a key, or its prefix (kv_live_...).")]
TenantArgument = Annotated[str, typer.Argument(help="Name of the tenant.")]
Amount = Annotated[int | None, typer.Option(min=0, max=MOST_OF_A_LIMIT, help="0 is no limit.")]


@app.callback()
def group() -> None:
    """Keep typer from turning a single group into the whole program."""


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, in your words.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whose key it is; made if there is none.")] = DEFAULT_TENANT,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; all but priority and admin.")] = None,
    expires_days: Annotated[float | None, typer.Option(min=0.0, help="Days until it ends; never if absent.")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=0, max=MOST_OF_A_LIMIT, help="0 is no limit; the tenant's if absent.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and show its secret, once."""
    _check_name(tenant)
    with _store(data_dir) as store:
        key, secret = store.create(
            tenant=tenant,
            name=name,
            scopes=scope or USUAL_SCOPES,
            actor=OPERATOR,
            expires_in_s=None if expires_days is None else expires_days * DAY_S,
            requests_per_minute=requests_per_minute,
        )
    _show_secret(key, secret, as_json=as_json)


@keys.command("list")
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Ended keys too.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the API keys, without secrets."""
    with _store(data_dir) as store:
        now = time.time()
        found = [key for key in store.all_keys() if every or key.is_active(now)]
    if as_json:
        typer.echo(json.dumps([_document(key) for key in found], indent=2))
        return
    columns = ("ID", "NAME", "TENANT", "KEY", "SCOPES", "MADE", "USED", "STATE")
    _print_table(columns, [_cells(key, now) for key in found])


@keys.command()
def rotate(
    key: Key,
    overlap_hours: Annotated[float, typer.Option(min=0.0, help="How long the old key goes on.")] = 24.0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key that replaces another; both work during the overlap."""
    with _store(data_dir) as store:
        new, secret = store.rotate(_id_of(store, key), overlap_s=overlap_hours * HOUR_S, actor=OPERATOR)
    _show_secret(new, secret, as_json=as_json)


@keys.command()
def revoke(key: Key, data_dir: DataDir = None) -> None:
    """End a key now; servers refuse it within two seconds."""
    with _store(data_dir) as store:
        ended = store.revoke(_id_of(store, key), actor=OPERATOR)
    typer.echo(f"Revoked {ended.id} ({ended.name}).")


@keys.command()
def tenants(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the tenants with their limits; 0 is no limit."""
    with _store(data_dir) as store:
        found = store.tenants()
    if as_json:
        typer.echo(json.dumps([asdict(tenant) for tenant in found], indent=2))
        return
    columns = ("TENANT", "WEIGHT", "REQUESTS/MIN", "NEW/MIN", "RUNNING", "QUEUED", "COMPUTE S/DAY")
    rows = [
        [tenant.id, f"{tenant.weight:g}", *(f"{most:g}" for most in asdict(tenant.limits).values())] for tenant in found
    ]
    _print_table(columns, rows)


@keys.command()
def limit(
    tenant: TenantArgument,
    *,
    requests_per_minute: Amount = None,
    creates_per_minute: Amount = None,
    max_running: Amount = None,
    max_queued: Amount = None,
    compute_seconds_per_day: Annotated[float | None, typer.Option(min=0.0, help="0 is no limit.")] = None,
    weight: Annotated[float | None, typer.Option(min=0.001, help="Share of the workers where several wait.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Change the limits of a tenant; those that are not named stay."""
    _check_name(tenant)
    given = {
        "requests_per_minute": requests_per_minute,
        "creates_per_minute": creates_per_minute,
        "max_running": max_running,
        "max_queued": max_queued,
        "compute_seconds_per_day": compute_seconds_per_day,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    with _store(data_dir) as store:
        changed = store.set_limits(tenant, changes, actor=OPERATOR, weight=weight)
    limits = ", ".join(f"{name} {value:g}" for name, value in asdict(changed.limits).items())
    typer.echo(f"{changed.id}: weight {changed.weight:g}, {limits}.")


@contextmanager
def _store(data_dir: Path | None) -> Iterator[KeyStore]:
    """The key store of the installation; its errors become one line and exit status 1."""
    from service.settings import ServiceSettings
    from workers.cli import settings_or_exit
    from workers.database import Database, upgrade
    from workers.quota import default_limits

    settings = settings_or_exit(ServiceSettings, data_dir=data_dir)
    try:
        upgrade(settings.database_url)
        database = Database(settings.database_url)
        try:
            yield KeyStore(database, default_limits=default_limits(settings))
        finally:
            database.close()
    except (IllegalTransition, KeyNotKnown, StoreUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _id_of(store: KeyStore, named: str) -> str:
    return next((key.id for key in store.all_keys() if named in (key.id, key.prefix)), named)


def _check_name(tenant: str) -> None:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", tenant):
        raise typer.BadParameter("a tenant's name has 1 to 64 letters, digits, dots, dashes and underscores")


def _show_secret(key: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_document(key), "secret": secret}, indent=2))
        return
    typer.echo(f"{key.id}: {key.name}, tenant {key.tenant}, {', '.join(sorted(key.scopes))}", err=True)
    typer.echo("Keep the secret now, it is not shown again:", err=True)
    typer.echo(secret)


def _document(key: ApiKey) -> dict[str, object]:
    return {**asdict(key), "scopes": sorted(key.scopes)}


def _cells(key: ApiKey, now: float) -> list[str]:
    if key.revoked_at is not None:
        state = f"revoked {_day(key.revoked_at)}"
    elif key.expires_at is not None:
        state = f"{'ends' if key.is_active(now) else 'ended'} {_day(key.expires_at)}"
    else:
        state = "active"
    shown = f"{key.prefix}...{key.last4}"
    scopes = " ".join(sorted(key.scopes))
    return [key.id, key.name, key.tenant, shown, scopes, _day(key.created_at), _day(key.used_at), state]


def _day(moment: float | None) -> str:
    return "never" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _print_table(columns: tuple[str, ...], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)
