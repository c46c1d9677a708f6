"""Set where data and models are kept, and check that it can be used: digits remote URL

`make remote URL=... [ENDPOINT=...]` starts this command. URL is s3://bucket/path, or a folder
outside of this repository. It becomes DVC's default remote in .dvc/config, which you commit; the
endpoint stays in .dvc/config.local. Credentials come from the environment or from ~/.aws, as for
any AWS tool. Without a URL, the command checks the remote that is set.

It tries what DVC and `digits deploy` need, with a small file, and removes this file again: to list,
write, read and delete, and to write on a condition (If-Match, If-None-Match). If DVC cannot use the
URL, nothing changes. If only `digits deploy` cannot use it, the command says so.

Exit code 0: DVC can use it. 2: it cannot, and nothing has changed.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from digits.core import command_line, errors, urls
from digits.core.command_line import say
from digits.core.errors import InputError, Unreachable
from digits.storage import location, rights
from ops.tools import any_path
from ops.tools.dvc import NO_REMOTE, has_remote, usable

NAME = "storage"
AWS_CONFIG = ".dvc/s3.config"  # turns off the checksums that some servers refuse
PURPOSES = {  # what does not work without a right
    rights.LIST: "dvc push and dvc pull",
    rights.WRITE: "dvc push",
    rights.READ: "dvc pull",
    rights.DELETE: "dvc gc --cloud and digits deploy --prune",
    rights.CONDITIONAL: "digits deploy",
}
REQUIRED = (rights.LIST, rights.WRITE, rights.READ)
# DVC's options, and the variables that say the same to the commands of this repository.
VARIABLES = {
    "endpointurl": "AWS_ENDPOINT_URL_S3",
    "region": "AWS_DEFAULT_REGION",
    "profile": "AWS_PROFILE",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "sse": location.ENCRYPTION,
    "sse_kms_key_id": location.KMS_KEY,
}
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/?#]+)*")


def main() -> None:
    parser = command_line.parser("ops.remote", __doc__)
    parser.add_argument("url", nargs="?", metavar="URL", help="s3://bucket/path, or a folder")
    parser.add_argument("--endpoint", metavar="URL", help="the server, if it is not AWS's")
    parser.add_argument("--sse", metavar="KIND", help="encryption by the server: AES256 or aws:kms")
    parser.add_argument("--kms-key", metavar="KEY", help="another key than the bucket's own")
    args = parser.parse_args()
    if args.url is None:
        check(configured())
        return
    url = check_url(command_line.path_or_url(args.url))
    given = {"endpointurl": args.endpoint, "sse": args.sse, "sse_kms_key_id": args.kms_key}
    options = {"url": url} | {name: value for name, value in given.items() if value}
    check(own_settings() | options)
    configure(options)
    print(f"The remote is {url}. Commit .dvc/config; then run dvc push or dvc pull")


def check_url(url: str) -> str:
    """Return a URL if DVC and all other commands read it alike, and others can reach it.

    Raises `InputError` if it is another one.
    """
    storage = location.find(url)
    if storage.is_bucket:
        url = url.rstrip("/")
        if not BUCKET.fullmatch(url) or {".", ".."} & {*url.split("/")}:
            raise InputError(
                f"URL is {url}; expected s3://bucket/path. A bucket's name has 3 to 63 lower-case "
                f"letters, digits, hyphens and dots; the path has no ?, # or //"
            )
        return url
    folder, project = Path(storage.root).resolve(), Path.cwd()
    if folder.is_relative_to(project):
        raise InputError(
            f"URL is {url}, in this repository; expected a folder outside of {project}"
        )
    if not folder.parent.is_dir():
        raise InputError(
            f"URL is {url}, but there is no folder {folder.parent}. Is a disk not mounted? Or: "
            f"mkdir -p {folder.parent}"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"URL is {url}, which is a file; expected a folder")
    return storage.root if "://" in url else url


def configured() -> dict[str, str]:
    """DVC's options of its default remote; raises `InputError` if there is only the placeholder."""
    from dvc.config import Config

    configuration = usable(Config.from_cwd)
    if not has_remote(configuration):
        raise InputError(NO_REMOTE)
    return dict(configuration["remote"][configuration["core"]["remote"]])


def own_settings() -> dict[str, str]:
    """The options in .dvc/config.local that are of this machine and not of the former URL."""
    from dvc.config import Config

    options: dict[str, str] = (
        Config.from_cwd(validate=False).load_one("local")["remote"].get(NAME, {})
    )
    names = VARIABLES.keys() - {"endpointurl"}
    return {name: value for name, value in options.items() if name in names}


def check(options: Mapping[str, str]) -> None:
    """Say what works and what does not; raises `InputError` or `Unreachable` if DVC can't use it.

    Sets the variables of `VARIABLES`.
    """
    if "endpointurl" in options:
        urls.check_server("ENDPOINT", options["endpointurl"])
    for name, variable in VARIABLES.items():
        if name in options:
            os.environ[variable] = options[name]
    problems = rights.missing(location.find(options["url"]))
    for right, purpose in PURPOSES.items():
        say(f"  {'MISSING' if right in problems else 'ok':<8} {right:<19} for {purpose}")
    for right in REQUIRED:
        if right in problems:
            raise Unreachable(problems[right])
    for problem in problems.values():
        say(problem)


def configure(options: Mapping[str, str]) -> None:
    """Write the remote into DVC's configuration, in the place of the former one."""
    from dvc.config import Config

    any_path.allow()
    options = dict(options)
    local = own_settings()
    if endpoint := options.pop("endpointurl", None):
        local |= {"endpointurl": endpoint} | checksum_settings()
    configuration = Config.from_cwd(validate=False)  # it may be what is to be mended
    with configuration.edit("local", validate=False) as level:
        level["core"].pop("remote", None)
        level["remote"].pop(NAME, None)
        if local:
            level["remote"][NAME] = local
    with configuration.edit("repo") as level:
        level["remote"][NAME] = {**options, "verify": "true"}
        level["core"]["remote"] = NAME


def checksum_settings() -> dict[str, str]:
    """The option that turns checksums off, unless AWS's tools have a configuration here."""
    file = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    if not file.exists():
        return {"configpath": AWS_CONFIG}
    if "request_checksum_calculation" not in file.read_text():
        say(f"If the server refuses checksums, add the lines of {AWS_CONFIG} to {file}")
    return {}


if __name__ == "__main__":
    errors.run(main, failure=2)
