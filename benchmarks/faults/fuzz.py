"""Fuzzed requests against a real `keyvid api`: broken multipart forms, and every operation of the OpenAPI document.

`python -m benchmarks.faults.fuzz` sends 20,000 forms and then lets schemathesis make requests from the schemas. No
answer may be a 5xx, no answer and no log line may tell a path, a trace or the content of a file, and no temporary file
may be left. It exits with 1 otherwise, and says which form it was: `--only NUMBER` sends that one again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from socket import create_connection
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.faults.fuzzed_forms import fuzzed_form
from tests.api_process import api_process
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from socket import socket

    from benchmarks.faults.fuzzed_forms import FuzzedForm
    from tests.api_process import ApiProcess

FORMS = 20_000
EXAMPLES = 100  # of each operation
CANARY = "canary-3f9c1d07b2"  # lies in a file beside the data: nothing may ever tell it
BATCH = 1000  # forms between two words of progress
TIMEOUT_S = 90.0
SCOPES = ("videos:read", "videos:write", "videos:priority", "files", "webhooks", "admin")
SETTINGS = {"quota_requests_per_minute": "0", "body_idle_seconds": "5", "event_poll_seconds": "0.05"}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ENDS_KEYS = ("rotateKey", "revokeKey")  # sent last: schemathesis finds ids in answers, that of its own key too
STREAMS = ("streamVideoEvents",)
STREAM_CHECKS = CHECKS.removesuffix(",response_schema_conformance")
"""OpenAPI 3.1 has a schema say what a whole stream is, a string: schemathesis takes it for that of each event."""

_LEAK = re.compile(
    r'Traceback \(most recent|File "/|site-packages|sqlalchemy|sqlite3?\.|psycopg|botocore|\.py\b|' + CANARY,
    re.IGNORECASE,
)


@dataclass(slots=True)
class Findings:
    """What was answered, and everything that should not have been."""

    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def note(self, name: str, status: int, body: bytes, *, secrets: Iterable[str] = ()) -> None:
        """Take an answer in."""
        text = body.decode(errors="replace")
        code = json.loads(text).get("code", "") if status >= 400 and text.startswith("{") else ""
        self.answers[f"{status} {code}".strip()] += 1
        if status >= 500 or (status >= 400 and not code):
            self.violations.append(f"{name}: {status} {text[:200]}")
        if leak := leak_in(text, secrets=secrets):
            self.violations.append(f"{name}: tells {leak!r}")


def leak_in(text: str, *, secrets: Iterable[str] = ()) -> str | None:
    """What a text tells that it may not: a path, a trace, a library's name, the canary, or one of the `secrets`."""
    found = _LEAK.search(text)
    return found[0] if found else next((secret for secret in secrets if secret in text), None)


def send_forms(api: ApiProcess, numbers: Iterable[int], *, seed: int, findings: Findings) -> None:
    """Send the forms of these numbers, one after the other, over connections that are kept as long as they may be."""
    connection: socket | None = None
    places = (str(api.data_dir), str(Path.cwd()))
    for number in numbers:
        form = fuzzed_form(seed, number)
        try:
            connection = connection or create_connection(("127.0.0.1", api.port), timeout=TIMEOUT_S)
            is_kept, status, body = _exchange(connection, form)
        except (OSError, HTTPException) as error:  # an answer that came before the body's end may be lost with it
            if connection:
                connection.close()
            connection = None
            findings.answers[f"closed ({type(error).__name__})"] += 1
            continue
        if status:
            findings.note(f"form {number}", status, body, secrets=places)
        else:
            findings.answers["cut by us"] += 1
        if not is_kept:
            connection.close()
            connection = None
    if connection:
        connection.close()


def _exchange(connection: socket, form: FuzzedForm) -> tuple[bool, int, bytes]:
    """Send one form and read the answer; whether the connection may be used again, status (0 for a cut form), body."""
    head = (
        f"POST {form.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + b"Content-Type: " + form.content_type + b"\r\n"
    )
    if form.framing == "chunked":
        half = len(form.body) // 2
        pieces = [piece for piece in (form.body[:half], form.body[half:]) if piece]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    elif form.framing == "cut":
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(form.body) + 1) + form.body)
        return False, 0, b""
    else:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(form.body) + form.body)
    answer = HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    return not answer.will_close, answer.status, body


def look_around(api: ApiProcess, findings: Findings) -> None:
    """Look for what the requests left behind: temporary files, traces in the log, a server that died."""
    try:
        wait_until(lambda: not api.files_in_the_making(), timeout_s=TIMEOUT_S)
    except AssertionError:
        findings.violations.append(f"{len(api.files_in_the_making())} temporary files are left")
    log = api.log
    for sign in ("Traceback (most recent call last)", CANARY):
        if sign in log:
            findings.violations.append(f"the log holds {sign!r}: {log[log.index(sign) - 500 :][:2000]}")
    if api.process.poll() is not None:
        findings.violations.append(f"the API ended with {api.process.returncode}")


def run_schemathesis(api: ApiProcess, *, examples: int, seed: int, phases: str = "coverage,fuzzing") -> list[str]:
    """Send what schemathesis makes of every operation; returns what it found wrong."""
    key = subprocess.run(
        [sys.executable, "-m", "keyvid", "keys", "create", "fuzz", "--json", "--data-dir", str(api.data_dir)]
        + [part for scope in SCOPES for part in ("--scope", scope)],
        check=True,
        capture_output=True,
        text=True,
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--phases", phases),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
        *("--request-timeout", "60", "--no-color", "--warnings", "off", "--suppress-health-check", "all"),
        *("--header", f"Authorization: Bearer {json.loads(key.stdout)['secret']}"),
    ]
    found = []
    for checks, option, operations in (
        (CHECKS, "--exclude-operation-id", (*STREAMS, *ENDS_KEYS)),
        (STREAM_CHECKS, "--include-operation-id", STREAMS),
        (CHECKS, "--include-operation-id", ENDS_KEYS),
    ):
        selection = ["--checks", checks, *(part for operation in operations for part in (option, operation))]
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run([*command, *selection], cwd=folder, capture_output=True, text=True, check=False)
        if ran.returncode:
            found.append(ran.stdout[-6000:] + ran.stderr[-2000:])
        elif leak := leak_in(ran.stdout):
            found.append(f"schemathesis was told {leak!r}")
    return found


def fuzz(numbers: Sequence[int], *, examples: int, seed: int, say: Callable[[str], None]) -> Findings:
    """Send the forms of these numbers, and `examples` requests of each operation, to an API of their own."""
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "canary").write_text(CANARY)
        with api_process(Path(folder), **SETTINGS) as api:
            for first in range(0, len(numbers), BATCH):
                send_forms(api, numbers[first : first + BATCH], seed=seed, findings=findings)
                say(f"{min(first + BATCH, len(numbers))} of {len(numbers)} forms sent")
            look_around(api, findings)
            if examples:
                say("schemathesis begins")
                findings.violations += run_schemathesis(api, examples=examples, seed=seed)
                look_around(api, findings)
    return findings


def main() -> None:
    """Run everything, print what was answered, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", type=int, default=FORMS, help="how many multipart forms to send (%(default)s)")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="requests of each operation (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the requests are made from (%(default)s)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send one form again, and nothing else")
    options = parser.parse_args()
    console = Console(highlight=False)
    is_one = options.only is not None
    findings = fuzz(
        [options.only] if is_one else range(options.forms),
        examples=0 if is_one else options.examples,
        seed=options.seed,
        say=console.print,
    )
    for answer, count in sorted(findings.answers.items()):
        console.print(f"{count:7d}  {answer}")
    for violation in findings.violations:
        console.print(violation, markup=False)
    sys.exit(1 if findings.violations else 0)


if __name__ == "__main__":
    main()
