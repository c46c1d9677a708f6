"""What lies in the bucket: files by their content, each sent once, and archives.

s3://BUCKET/digits-sagemaker/{code,data,models}/<digest>/<file>    what we send
s3://BUCKET/digits-sagemaker/jobs/<job>/output/model.tar.gz        what SageMaker makes
s3://BUCKET/digits-sagemaker/checkpoints/<digest>/                 what it keeps of a training
"""

import base64
import gzip
import hashlib
import io
import shutil
import tarfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from digits.core import files
from digits.core.errors import InputError
from ops.tools.sagemaker import aws
from ops.tools.sagemaker.aws import Clients
from ops.tools.sagemaker.container import tree_digest

FOLDER = "digits-sagemaker"
LARGEST = 1 << 30  # bytes of a file in an archive


Content = bytes | Path


def digest(contents: Mapping[str, Content]) -> str:
    """One digest of files and their names."""
    return tree_digest({name: sha256(content) for name, content in contents.items()})


def url(bucket: str, kind: str, digest: str) -> str:
    """Where files with that digest lie."""
    return f"s3://{bucket}/{FOLDER}/{kind}/{digest}/"


def send(clients: Clients, bucket: str, kind: str, contents: Mapping[str, Content]) -> str:
    """Send those files that are not there yet; the URL of their folder.

    An object appears whole or not at all, and S3 checks its sha256 on arrival: one that is there
    needs no second look.
    """
    place = url(bucket, kind, digest(contents))
    folder = place.removeprefix(f"s3://{bucket}/")
    there = keys(clients, bucket, folder)
    missing = [name for name in contents if folder + name not in there]
    for name in tqdm(missing, f"sending {kind}", unit="file", disable=not missing):
        content = contents[name]
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as body:
            clients.s3.put_object(
                Bucket=bucket,
                Key=folder + name,
                Body=body,
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256(content))).decode(),
                Tagging=f"{aws.TAG}={kind}",
            )
    return place


def sha256(content: Content) -> str:
    if isinstance(content, Path):
        return files.sha256(content)
    return hashlib.sha256(content).hexdigest()


def keys(clients: Clients, bucket: str, folder: str) -> dict[str, int]:
    """The objects under a folder, with their bytes."""
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def remove(clients: Clients, bucket: str, names: Sequence[str]) -> None:
    for i in range(0, len(names), 1000):  # what S3 takes at once
        objects = [{"Key": name} for name in names[i : i + 1000]]
        answer = clients.s3.delete_objects(
            Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
        )
        if failed := answer.get("Errors"):
            raise InputError(f"{failed[0]['Key']} can't be removed: {failed[0]['Message']}")


def fetch(clients: Clients, url: str, target: Path) -> None:
    """Bring an object into a file; raises `InputError` if it is gone."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if key not in keys(clients, bucket, key):  # who may not list all is told 403 for what is gone
        raise InputError(f"{url} is gone")
    answer = clients.s3.get_object(Bucket=bucket, Key=key)
    with target.open("wb") as file:
        shutil.copyfileobj(answer["Body"], file)


def pack(contents: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of files, with the same bytes wherever and whenever it is made."""
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(contents.items()):
            member = tarfile.TarInfo(name)  # of nobody, made in 1970
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as file:
        file.write(plain.getvalue())
    return packed.getvalue()


def unpack(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """The files of an archive by name: these, all of them, and nothing else.

    Nothing is written, so no name can lead astray.

    Raises
    ------
    InputError
        If it is damaged, a file is missing or too large, or there is anything more in it: another
        file, a path, a link, a device.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isdir() and name in ("", "."):
                    continue
                if not member.isreg() or name not in names or name in found:
                    raise InputError(f"it holds {member.name!r}, which nobody asked for")
                if member.size > LARGEST:
                    raise InputError(
                        f"{name} has {member.size:,} bytes; expected up to {LARGEST:,}"
                    )
                content = tar.extractfile(member)
                assert content is not None  # of a regular file
                found[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"it is damaged: {error}") from None
    if lost := set(names) - set(found):
        raise InputError(f"it lacks {', '.join(sorted(lost))}")
    return found
