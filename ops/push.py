"""Push data, models and the results of earlier runs to the DVC remote: digits push

`dvc push` pushes only what the commit names. With --run-cache it also pushes the list of earlier
runs, but not their metrics and plots, since Git has those; so another clone would train again. This
command pushes them too. In the other clone, `dvc pull --run-cache` and `dvc repro --pull` then
train nothing that ran here.

With --commits, it pushes the commits of this branch to the Git server (origin, or the only one)
instead. A promotion needs them there.

Exit code 0: everything is in the remote. 2: something is not; run the command again.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from digits.core import command_line, errors
from digits.core.errors import InputError
from ops.tools import dvc_files, git, object_store
from ops.tools.dvc import DVC, NO_REMOTE, omit_checksums
from ops.tools.object_store import Output, Store


def main() -> None:
    parser = command_line.parser("ops.push", __doc__)
    parser.add_argument(
        "--commits", action="store_true", help="push the commits of this branch to the Git server"
    )
    if parser.parse_args().commits:
        push_commits()
    else:
        push_data()


def push_commits() -> None:
    server = git.server()
    if server is None:
        raise InputError("there is no Git server to push to. Name one: git remote add origin URL")
    if not git.run("branch", "--show-current"):
        raise InputError(
            f"HEAD is on no branch, so Git does not know where to push. Name one: "
            f"{git.push_command(server)}"
        )
    if subprocess.run(["git", "push", server, "HEAD"]).returncode:
        raise InputError(f"git push {server} HEAD failed; see its message above")


def push_data() -> None:
    omit_checksums()
    with object_store.stores() as (cache, remote):
        if remote is None:
            raise InputError(NO_REMOTE)
        if subprocess.run([*DVC, "push", "--run-cache"]).returncode:
            raise InputError("dvc push failed; see its message above")
        missing = [
            output for output in small_outputs(cache) if not object_store.exists(remote, output.oid)
        ]
        for output in missing:
            if not object_store.repair(remote, output, [cache]):
                raise InputError(f"{output.path} of an earlier run is not whole in the cache")
    print(f"{len(missing)} files of earlier runs pushed")


def small_outputs(cache: Store) -> Iterator[Output]:
    """Yield the outputs in DVC's run cache that are files, not folders; each content once."""
    oids = set()
    folder = Path(cache.path).parents[1]
    for entry in sorted(folder.glob("runs/*/*/*")):
        if not dvc_files.RUN_PATH.fullmatch(entry.relative_to(folder).as_posix()):
            continue  # a part of an entry, which a killed DVC left
        try:
            run = dvc_files.parse_run(entry.read_bytes(), str(entry))
            outputs = [object_store.stored_output(run.cmd, out, str(entry)) for out in run.outs]
        except InputError as error:
            command_line.say(f"this earlier run is passed over: {error}. Delete the file")
            continue
        for output in outputs:
            is_new = not output.oid.endswith(".dir") and output.oid not in oids
            if is_new and object_store.exists(cache, output.oid):
                oids.add(output.oid)
                yield output


if __name__ == "__main__":
    errors.run(main, failure=2)
