"""An S3 server on this machine, SeaweedFS, for rehearsals and tests. `make test` installs it.

Example:

    with local_s3.serve("digits") as endpoint:          # and a bucket of this name
        os.environ |= local_s3.environment(endpoint)    # for every AWS tool
"""

import json
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from digits.core.errors import InputError, Unreachable

ADMINISTRATOR = "rehearsal"
EVERYTHING = ("Admin", "Read", "Write", "List")
START_S = 120  # it takes 4 s on an idle machine
POLL_S = 0.1
ATTEMPTS = 3  # another program may take a port between its choice and its use
PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"),
)
OPTIONS = (
    *("-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20"),
    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
    *("-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
)
# Ends the server, and removes its files, as soon as the process that started it has ended.
GUARD = """\
exec 3<&0
"$@" >"$0/log" 2>&1 3<&- & server=$!
{ read -r _ <&3; kill -9 $server; } &
wait $server
rm -rf "$0"
"""


def environment(endpoint: str, user: str = ADMINISTRATOR) -> dict[str, str]:
    """The variables with which AWS's tools use the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": user,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def serve(bucket: str, users: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
    """Start a server with a bucket, and stop it afterwards; its data are in a temporary folder.

    Parameters
    ----------
    bucket : its name
    users : what each may do, of `EVERYTHING`, besides `ADMINISTRATOR`, who may do everything; the
        name of a user is also key and secret

    Yields the server's URL. Raises `InputError` if SeaweedFS is not installed, and `Unreachable` if
    it does not start.
    """
    program = Path(sysconfig.get_path("scripts"), "weed")
    if not program.exists():
        raise InputError(f"{program}, the S3 server SeaweedFS, is missing. Run: make .venv/dev")
    for _ in range(ATTEMPTS):
        with ExitStack() as stack:
            endpoint = stack.enter_context(
                _started(program, bucket, {ADMINISTRATOR: EVERYTHING, **(users or {})})
            )
            if endpoint:
                yield endpoint
                return
    raise Unreachable(f"{program} did not start in {START_S} s")


@contextmanager
def _started(
    program: Path, bucket: str, users: Mapping[str, Sequence[str]]
) -> Iterator[str | None]:
    """Start the server, which has the bucket then; None if it has ended instead."""
    folder = Path(tempfile.mkdtemp(prefix="local-s3-"))
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": name}], "actions": actions}
        for name, actions in users.items()
    ]
    (folder / "users.json").write_text(json.dumps({"identities": identities}))
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    options = [
        f"-dir={folder}",
        f"-s3.config={folder}/users.json",
        *OPTIONS,
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, folder, program, f"-logdir={folder}", "server", *options],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        yield endpoint if _make_bucket(endpoint, bucket, guard) else None
    finally:
        guard.communicate()  # closes its standard input
        for port in ports.values():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)


def _make_bucket(endpoint: str, bucket: str, guard: subprocess.Popen[bytes]) -> bool:
    """Make a bucket as soon as the server can write to it."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ADMINISTRATOR,
        aws_secret_access_key=ADMINISTRATOR,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
    )
    deadline = time.monotonic() + START_S
    while guard.poll() is None and time.monotonic() < deadline:
        try:
            if bucket not in [each["Name"] for each in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="first", Body=b"1")
            client.delete_object(Bucket=bucket, Key="first")
            return True
        except (BotoCoreError, ClientError):
            time.sleep(POLL_S)
    return False


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
