"""OpenStack Swift with its S3 interface: a real object store that checks signatures, in one process.

`python -m tests.swift_server FOLDER PORT` serves S3 on the loopback port and keeps everything below FOLDER, which must
be on a file system with user extended attributes. Swift is the proxy with `s3api` and one account, container and object
server behind it, on ports of their own.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()  # before anything below opens a socket

import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

from tests.servers import S3_KEY_ID, S3_SECRET  # noqa: E402

PARTITIONS_POWER = 2  # four partitions on one device: the least that is not a special case
BACKENDS = ("account", "container", "object")

# `copy`, `bulk` and `slo` serve S3's copies, deletes of many and uploads in parts; `tempauth` holds the one user.
_PROXY = f"""
[DEFAULT]
swift_dir = {{folder}}
log_name = swift
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats bulk s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_{S3_KEY_ID.replace(":", "_")} = {S3_SECRET} .admin
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "slo", "dlo", "versioned_writes")
)
_BACKEND = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
[app:main]
use = egg:swift#{name}
"""


def serve(folder: Path, port: int) -> None:
    """Write the settings and rings of a cluster of one, start its four servers, and serve until killed."""
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n")
    utils.set_swift_dir(str(folder))
    for name in BACKENDS:
        backend = eventlet.listen(("127.0.0.1", 0))
        _write_ring(folder / f"{name}.ring.gz", backend.getsockname()[1])
        settings = folder / f"{name}-server.conf"
        settings.write_text(_BACKEND.format(folder=folder, name=name))
        eventlet.spawn(_serve, backend, settings)
    settings = folder / "proxy-server.conf"
    settings.write_text(_PROXY.format(folder=folder))
    _serve(eventlet.listen(("127.0.0.1", port)), settings)


def _write_ring(path: Path, port: int) -> None:
    """A ring whose partitions all lie on the one device."""
    builder = RingBuilder(PARTITIONS_POWER, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"})
    builder.rebalance()
    builder.get_ring().save(str(path))


def _serve(listener: object, settings: Path) -> None:
    # S3 clients look for `ETag`, which eventlet would write as `Etag`.
    wsgi.server(
        listener,
        loadapp(str(settings)),
        logging.getLogger("swift"),
        protocol=SwiftHttpProtocol,
        capitalize_response_headers=False,
        log_output=False,
    )


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    serve(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
