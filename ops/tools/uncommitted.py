"""What differs from the last commit, and which of it are results of the pipeline."""

from ops.tools import git

# Parameters, what the stages write for Git, and the data that DVC keeps: paths as Git matches them.
RESULTS = (
    *("params.yaml", "dvc.lock", "metrics", "data/corrections.csv"),
    *(":(glob)data/**/*.dvc", ":(glob)data/**/.gitignore"),
)


def results() -> list[str]:
    """As `changes`, of the results."""
    return changes(*RESULTS)


def changes(*paths: str) -> list[str]:
    """The files of the project that differ from HEAD, with new and removed ones.

    `paths` limits them, as Git matches paths; files that Git ignores are left out.
    """
    differing = ("diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD", "--")
    new = ("ls-files", "--others", "--exclude-standard", "-z", "--")
    return sorted({*git.names(*differing, *paths), *git.names(*new, *paths)})
