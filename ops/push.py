"""Push data, models and all that earlier parameters gave: digits push

`dvc push` brings what a commit names. With --run-cache it also tells which runs there were, but
leaves out their metrics and plots, since Git has these; so another clone would train again. This
pushes them too. There, `dvc pull --run-cache` and `dvc repro --pull` train nothing that ran here.

Exit code 0: all of it is in the remote. 2: it is not, and the same again completes it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.core.params import read_yaml
from ops.tools import object_store
from ops.tools.dvc import DVC
from ops.tools.object_store import Output, Store


def main() -> None:
    command_line.parser("ops.push", __doc__).parse_args()
    if subprocess.run([*DVC, "push", "--run-cache"]).returncode:
        raise InputError("dvc push failed; its own message stands above")
    with object_store.stores() as (cache, remote):
        assert remote is not None  # else dvc push had failed
        missing = [
            output
            for output in small_outputs(cache)
            if not remote.fs.exists(remote.oid_to_path(output.oid))
        ]
        for output in missing:
            if not object_store.mend(remote, output, [cache]):
                raise InputError(f"{output.path} of an earlier run is not whole in the cache")
    print(f"{len(missing)} files of earlier runs pushed")


def small_outputs(cache: Store) -> Iterator[Output]:
    """Files that runs in DVC's run cache made and that are no folders, each content once."""
    seen = set()
    for entry in sorted(Path(cache.path).parents[1].glob("runs/*/*/*")):
        run = read_yaml(entry)
        for out in run["outs"]:
            present = cache.fs.exists(cache.oid_to_path(out["md5"]))
            if present and not out["md5"].endswith(".dir") and out["md5"] not in seen:
                seen.add(out["md5"])
                yield Output(out["path"], run["cmd"], out["md5"], out["size"])


if __name__ == "__main__":
    errors.run(main, failure=2)
