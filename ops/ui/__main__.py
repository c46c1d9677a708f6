"""Show the pipeline in a browser: digits ui [--read-only] [--port N], or digits ui --site FOLDER

Shows what is in production, the state of each stage and why, every run, the versions and the data.
The pages on this computer also run the pipeline, experiments and sweeps, promote, roll back, and
label images. Open the printed address: only a browser that has its token gets in.

With --site, the same pages are written to a folder, without what runs commands. They open from
there without a server and without a network.

With --deployment URL, the pages also show what a deployment serves (see digits deploy --to URL),
and whether that is what the registry says. With --metrics URL, the page of the data shows how far
a server's answers have drifted.

Exit code 0: the pages are written, or the server was stopped. 2: something is missing or broken.
"""

import argparse

from digits.core import command_line, errors
from digits.storage import location
from ops.ui.project import Elsewhere


def main() -> None:
    args = parse_args()
    elsewhere = Elsewhere(tuple(args.deployment), args.metrics)
    for url in elsewhere.deployments:
        location.find(url)  # a URL that cannot be used is an error, not a line of a page
    if args.site:
        from ops.ui import site

        count = site.write(args.site, elsewhere)
        print(f"{args.site / 'index.html'}: {count} files")
    else:
        from ops.ui import server

        server.run(args.port, read_only=args.read_only, elsewhere=elsewhere)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.ui", __doc__)
    parser.add_argument("--port", type=int, default=3000, help="0 picks a free port")
    parser.add_argument(
        "--read-only", action="store_true", help="run no commands: for others to look at"
    )
    parser.add_argument(
        "--site",
        metavar="FOLDER",
        type=command_line.path,
        help="write the pages to a folder instead",
    )
    parser.add_argument(
        "--deployment",
        metavar="URL",
        action="append",
        default=[],
        type=command_line.path_or_url,
        help="show what it serves: a folder or s3://bucket/prefix; may be repeated",
    )
    parser.add_argument(
        "--metrics",
        metavar="URL",
        type=command_line.path_or_url,
        help="show the drift of a server's answers: http://HOST:PORT/metrics, or a file with it",
    )
    args = parser.parse_args()
    if not 0 <= args.port <= 65535:
        parser.error(f"--port is {args.port}; expected 0 to 65535")
    return args


if __name__ == "__main__":
    errors.run(main, failure=2)
