"""The bucket: files named by their content, each uploaded once, and archives.

s3://BUCKET/digits-sagemaker/{code,data,models}/<digest>/<file>    uploaded by us
s3://BUCKET/digits-sagemaker/jobs/<job>/output/model.tar.gz        written by SageMaker
s3://BUCKET/digits-sagemaker/checkpoints/<digest>/                 a training's checkpoints
"""

import base64
import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from tqdm import tqdm

from digits.core import files
from digits.core.errors import InputError
from digits.storage import location
from ops.tools.sagemaker import aws
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.container import tree_digest

FOLDER = "digits-sagemaker"
MAX_BYTES = 1 << 30  # of a file in an archive
DELETE_AT_ONCE = 1000  # objects; S3's limit


Content = bytes | Path


def digest(contents: Mapping[str, Content]) -> str:
    """One digest of files and their names."""
    return tree_digest({name: sha256(content) for name, content in contents.items()})


def url(bucket: str, kind: str, digest: str) -> str:
    """The URL of the folder with the files of this digest."""
    return f"s3://{bucket}/{FOLDER}/{kind}/{digest}/"


def send(clients: Clients, bucket: str, kind: str, contents: Mapping[str, Content]) -> str:
    """Upload the files that the bucket lacks. Returns the URL of their folder.

    S3 stores an object whole or not at all, and checks its sha256 on arrival. So an object that
    exists needs no check.
    """
    folder_url = url(bucket, kind, digest(contents))
    folder = folder_url.removeprefix(f"s3://{bucket}/")
    existing = keys(clients, bucket, folder)
    missing = [name for name in contents if folder + name not in existing]
    for name in tqdm(missing, f"sending {kind}", unit="file", disable=not missing):
        content = contents[name]
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as body:
            clients.s3.put_object(
                Bucket=bucket,
                Key=folder + name,
                Body=body,
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256(content))).decode(),
                Tagging=f"{aws.TAG}={kind}",
                **location.encryption(),
            )
    return folder_url


def sha256(content: Content) -> str:
    if isinstance(content, Path):
        return files.sha256(content)
    return hashlib.sha256(content).hexdigest()


def keys(clients: Clients, bucket: str, folder: str) -> dict[str, int]:
    """The keys of the objects under a folder, and their sizes in bytes."""
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def remove(clients: Clients, bucket: str, names: Sequence[str]) -> None:
    for i in range(0, len(names), DELETE_AT_ONCE):
        objects = [{"Key": name} for name in names[i : i + DELETE_AT_ONCE]]
        answer = clients.s3.delete_objects(
            Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
        )
        if failed := answer.get("Errors"):
            raise InputError(f"{failed[0]['Key']} can't be removed: {failed[0]['Message']}")


def fetch(clients: Clients, url: str, names: Collection[str]) -> dict[str, bytes]:
    """Download an archive. Returns its files, which must be exactly those of the given names.

    Raises `InputError` as `unpack`, or if the archive does not exist.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if key not in keys(clients, bucket, key):  # without the right to list, S3 answers 403, not 404
        raise InputError(f"{url} does not exist any more")
    with tempfile.TemporaryFile() as archive:
        shutil.copyfileobj(clients.s3.get_object(Bucket=bucket, Key=key)["Body"], archive)
        archive.seek(0)
        try:
            return unpack(archive, names)
        except InputError as error:
            raise InputError(f"{url} can't be used: {error}") from None


def pack(contents: Mapping[str, bytes]) -> bytes:
    """A .tar.gz archive of files; the same files always give the same bytes."""
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(contents.items()):
            member = tarfile.TarInfo(name)  # without an owner, and dated 1970
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as file:
        file.write(plain.getvalue())
    return packed.getvalue()


def unpack(archive: IO[bytes], names: Collection[str]) -> dict[str, bytes]:
    """Read an archive's files, which must be exactly those of the given names.

    It writes nothing, so no name in the archive can lead outside of a folder.

    Raises `InputError` if the archive is damaged, a file is missing or too large, or there is
    anything else in it: another file, a path, a link, a device.
    """
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isdir() and name in ("", "."):
                    continue
                if not member.isreg() or name not in names or name in contents:
                    raise InputError(f"it holds {member.name!r}, which is not expected")
                if member.size > MAX_BYTES:
                    raise InputError(
                        f"{name} has {member.size:,} bytes; expected at most {MAX_BYTES:,}"
                    )
                file = tar.extractfile(member)
                assert file is not None  # the member is a regular file
                contents[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"it is damaged: {error}") from None
    if missing := set(names) - set(contents):
        raise InputError(f"it lacks {', '.join(sorted(missing))}")
    return contents
