"""The runs: every commit that changed the metrics, and every DVC experiment.

What a commit says is read once and kept (ops/ui/facts/cache.py); so is the gate's verdict of it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import digits.gate
import ops.gate
from digits.core.errors import InputError, UserError
from digits.core.params import MALFORMED, parse_yaml
from digits.gate import diff, strict_json
from digits.gate.diff import Figure
from digits.gate.results import Error, parse
from digits.gate.results import Run as Measured
from ops.gate.bases import Base
from ops.gate.decision import judge
from ops.gate.sentences import explain
from ops.tools import dvc_files, git, imports, revisions, tags, tree
from ops.tools.revisions import EVALUATION, LOCK, METRICS, PARAMS, runs_in_tree
from ops.tools.rules import rules_in
from ops.tools.tags import Tag
from ops.tools.tree import Contents, KeptTree
from ops.ui.facts.cache import kept
from ops.ui.facts.commits import Commit, log
from ops.ui.project import Project

Value = int | float | str
REQUIRED = ("evaluation.json", "errors.csv")
MOST_PARAMS = 1000
LONGEST = 300  # characters of a parameter's value
SEED = "train.seed"
WITHOUT_EFFECT = ("gate.", "compute.")  # parameters that cannot change the results
CODE = (__file__, imports.__file__, revisions.__file__, tree.__file__, dvc_files.__file__)


@dataclass(frozen=True)
class Results:
    """What a commit says of its model.

    fault : what is wrong with its metrics; then there may be no figures
    params : by dotted name, without the gate's rules; numbers, or text
    figures : the numbers of evaluation.json and train.json, by dotted name; `robustness` is the
        mean, and rates are fractions
    support : test images by class
    errors : the test images that it gets wrong, by position
    curve : of the training, the rows of plots/training.csv
    model, test_set : their SHA-256 digests
    source : of the data
    code : a digest of the code and the raw data that dvc.lock names; empty if it names none
    """

    fault: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    support: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[int, Error] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    model: str = ""
    test_set: str = ""
    source: str = ""
    code: str = ""


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict of a run against its base, and what was in production at its time.

    word : `none` if the two can't be compared
    better : chance does not explain the gain over each of them
    explanation : in one line
    sentences : the whole explanation
    against : what it was compared with; empty for the first run
    figures : of both, and whether the difference is noise; empty if they can't be compared
    params : those that differ: the base's value and this run's, None where it has none
    """

    word: Literal["pass", "blocked", "none"]
    better: bool
    explanation: str
    sentences: Sequence[str]
    against: Sequence[str]
    figures: Sequence[Figure]
    params: Mapping[str, tuple[Value | None, Value | None]]


@dataclass(frozen=True)
class Run:
    """A commit that changed the metrics, or a DVC experiment.

    name : the experiment's, or the first digits of the commit
    time : seconds since 1970
    base : the commit that it is judged against: of an experiment, the one that it was started from;
        of a commit, the run before it. None for the first run
    base_run : the commit of the run that made the base's metrics
    """

    commit: str
    name: str
    subject: str
    author: str
    time: int
    is_experiment: bool
    base: str | None
    base_run: str | None
    results: Results
    verdict: Verdict

    @property
    def key(self) -> str:
        """What the pages' paths call it."""
        return self.commit[:12]


def runs(project: Project) -> Sequence[Run]:
    """All runs, the oldest first; raises `InputError` if the repository can't be read."""
    return runs_at(state(project))


@lru_cache(maxsize=2)
def state(project: Project) -> str:
    """The repository's refs: the runs are the same as long as these are."""
    refs = git.run("for-each-ref", "--format=%(objectname) %(refname)")
    return f"{Path.cwd()}\n{git.commit('HEAD')}\n{refs}"


@lru_cache(maxsize=2)
def runs_at(state: str) -> Sequence[Run]:
    """The runs of this repository, whose `state` is this."""
    with git.Objects() as objects:
        return tuple(sorted(_Repository(Contents(objects)).runs(), key=lambda run: run.time))


def verdict_against(project: Project, commit: str, holder: str) -> Verdict:
    """The verdict of a promotion: of a run's commit against only the one that holds production."""
    return verdict_at(state(project), commit, holder)


@lru_cache(maxsize=2)
def verdict_at(state: str, commit: str, holder: str) -> Verdict:
    """As `verdict_against`, in this repository, whose `state` is this."""
    with git.Objects() as objects:
        return _Repository(Contents(objects)).verdict_against(commit, holder)


class _Repository:
    """Reads the runs of a repository; each commit's files are listed once."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._trees: dict[str, KeptTree] = {}
        self._known: dict[str, Results] = {}
        self._tags = tags.read()
        self._commits = {commit.hash: commit for commit in _history()}

    def runs(self) -> Iterator[Run]:
        for commit in reversed(self._commits.values()):
            before = next(iter(commit.parents), None)
            yield self._run(commit, commit.hash[:9], before, before, is_experiment=False)
        experiments = git.all_experiments()
        commits = _described([experiment.commit for experiment in experiments])
        last_runs = {base: _last_run(base) for base in {e.base for e in experiments}}
        for experiment in experiments:
            commit = commits[experiment.commit]
            base_run = last_runs[experiment.base]
            yield self._run(commit, experiment.name, experiment.base, base_run, is_experiment=True)

    def _run(
        self,
        commit: Commit,
        name: str,
        base: str | None,
        base_run: str | None,
        *,
        is_experiment: bool,
    ) -> Run:
        results = self._results(commit.hash)
        held = [tag for tag in self._tags if tag.time <= commit.time]
        production = tags.holder(held, "production")
        if production and production.commit in (base, commit.hash):
            production = None
        verdict = self._verdict(commit, name, base, base_run, production, results)
        return Run(
            commit.hash,
            name,
            commit.subject,
            commit.author,
            commit.time,
            is_experiment,
            base,
            base_run,
            results,
            verdict,
        )

    def verdict_against(self, commit: str, base: str) -> Verdict:
        results = self._results(commit)
        return self._verdict(self._commits[commit], commit[:9], base, None, None, results)

    def _results(self, commit: str) -> Results:
        if commit not in self._known:
            values = kept(f"runs/{commit}-{_code()}", lambda: asdict(_read(self._tree(commit))))
            errors = {int(i): Error(**error) for i, error in values["errors"].items()}
            self._known[commit] = Results(**values | {"errors": errors})
        return self._known[commit]

    def _verdict(
        self,
        commit: Commit,
        name: str,
        base: str | None,
        base_run: str | None,
        production: Tag | None,
        results: Results,
    ) -> Verdict:
        depends = (name, base, production and (production.name, production.commit))
        key = hashlib.sha256(repr(depends).encode(errors="surrogateescape")).hexdigest()[:12]
        make = partial(self._judged, commit, name, base, base_run, production, results)
        values = kept(f"verdicts/{commit.hash}-{key}-{_code()}", lambda: asdict(make()))
        return Verdict(**values | {"figures": [Figure(**f) for f in values["figures"]]})

    def _judged(
        self,
        commit: Commit,
        name: str,
        base: str | None,
        base_run: str | None,
        production: Tag | None,
        results: Results,
    ) -> Verdict:
        named = [(base[:9], base)] if base else []
        if production and base:
            named.append((production.name, production.commit))
        candidate = self._tree(commit.hash)
        names = tuple(rev for rev, _ in named)
        differing = _changes(self._tree(base), candidate) if base else {}
        try:
            revisions.check_lock(candidate)
            against = [Base.read(rev, self._tree(hash)) for rev, hash in named]
            origin = f"{named[0][0] if named else name}:{PARAMS}"
            measured = runs_in_tree(candidate, name)
            decision = judge(
                measured,
                against,
                rules_in(_params(self._tree(base or commit.hash)), origin),
                origin,
                code=candidate,
                looks=self._looks(commit.hash, base_run, results.test_set),
            )
        # The files of a commit may be of any form, and the gate reads more of them than metrics.
        except (UserError, *MALFORMED) as error:
            return Verdict("none", False, str(error), (), names, (), differing)
        first = next(iter(decision.judgements.values()), None)
        return Verdict(
            "blocked" if decision.reasons else "pass",
            bool(decision.judgements) and all(j.better for j in decision.judgements.values()),
            decision.explanation,
            tuple(explain(decision)),
            names,
            diff.figures(against[0].runs, measured, first.overall) if first else (),
            differing,
        )

    def _looks(self, commit: str, base_run: str | None, test_set: str) -> int:
        """As `revisions.count_looks`: the runs up to this one, on the same test images."""
        waiting, found = [commit, *([base_run] if base_run else [])], set[str]()
        while waiting:
            hash = waiting.pop()
            if hash not in found:
                found.add(hash)
                waiting += self._commits[hash].parents if hash in self._commits else ()
        return max(1, sum(self._results(hash).test_set == test_set for hash in found))

    def _tree(self, commit: str) -> KeptTree:
        if commit not in self._trees:
            self._trees[commit] = KeptTree(commit, self._contents)
        return self._trees[commit]


def _history() -> list[Commit]:
    """The commits of HEAD and main that changed the metrics."""
    heads = ["HEAD", *git.lines("for-each-ref", "--format=%(objectname)", "refs/heads/main")]
    return log("--parents", "--topo-order", *heads, "--", EVALUATION)


def _described(commits: Sequence[str]) -> dict[str, Commit]:
    if not commits:
        return {}
    listing = "".join(f"{commit}\n" for commit in commits)
    return {commit.hash: commit for commit in log("--no-walk", "--stdin", stdin=listing)}


@cache  # a commit's history never changes
def _last_run(commit: str) -> str | None:
    return git.run("log", "-1", "--format=%H", commit, "--", EVALUATION) or None


def _read(tree: KeptTree) -> Results:
    assert tree.commit
    name = tree.commit[:9]
    try:
        params = _flat(_params(tree))
    except InputError:
        params = {}  # the verdict says what is wrong with them
    fault, curve, code, training = "", [], "", {}
    try:
        measured = runs_in_tree(tree, name)[0]
        curve = revisions.table(tree, measured, "training")
        code = _origin(tree)
        training = _numbers(tree)
    except InputError as error:
        fault = str(error)
        try:  # the rest may be sound, as in metrics of an earlier version
            contents = {file: tree.read(f"{METRICS}/{file}") or b"" for file in REQUIRED}
            measured = parse(name, contents)
        except InputError:
            return Results(fault, params)
    scores = measured.scores
    return Results(
        fault,
        params,
        figures=_figures(measured) | training,
        support=scores.support,
        errors=measured.errors,
        curve=curve,
        model=scores.model,
        test_set=scores.test_set,
        source=scores.source,
        code=code,
    )


def _figures(measured: Measured) -> dict[str, float]:
    s = measured.scores
    figures: dict[str, float] = {
        "accuracy": s.accuracy,
        "errors": s.errors,
        "nll": s.nll,
        "ece": s.ece,
        "robustness": s.robustness["mean"],
        "parameters": s.parameters,
        "model_bytes": s.model_bytes,
    }
    figures |= {f"robustness.{name}": v for name, v in s.robustness.items() if name != "mean"}
    return figures | {f"recall.{name}": value for name, value in s.recall.items()}


def _numbers(tree: KeptTree) -> dict[str, float]:
    """The numbers of train.json; the seed is a parameter."""
    content = tree.read(f"{METRICS}/train.json")
    values = strict_json.parse(f"{METRICS}/train.json", content) if content else {}
    return {
        key: value for key, value in values.items() if type(value) in (int, float) and key != "seed"
    }


def _params(tree: KeptTree) -> Mapping[str, Any]:
    content = tree.read(PARAMS)
    if content is None:
        raise InputError(f"{tree.commit and tree.commit[:9]} has no {PARAMS}")
    return _parsed(content)


@lru_cache(maxsize=256)  # many commits have the same
def _parsed(content: bytes) -> Mapping[str, Any]:
    return parse_yaml(content, PARAMS)


def _changes(before: KeptTree, after: KeptTree) -> Mapping[str, tuple[Value | None, Value | None]]:
    try:
        old, new = _flat(_params(before)), _flat(_params(after))
    except InputError:
        return {}
    names = sorted(old.keys() | new.keys())
    return {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}


def _flat(document: Mapping[str, Any]) -> dict[str, Value]:
    """Parameters by dotted name, as a page can show them; at most `MOST_PARAMS`.

    An anchor can make a few lines of YAML stand for endlessly many values.
    """
    values: dict[str, Value] = {}
    waiting = [(str(key), value) for key, value in document.items() if key != "gate"]
    while waiting and len(values) < MOST_PARAMS and len(waiting) < MOST_PARAMS:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name[:LONGEST]}.{key}", inner) for key, inner in value.items()]
        else:
            values[name] = _plain(value)
    return dict(sorted(values.items()))


def _plain(value: Any) -> Value:
    if isinstance(value, list):
        return ", ".join(
            str(_plain(v)) if not isinstance(v, list | dict) else "…" for v in value[:20]
        )
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float) and abs(value) < 2**53:  # not so for what is no number
        return value
    return str(value)[:LONGEST]


def _origin(tree: KeptTree) -> str:
    """A digest of the pipeline's commands, and of the files that no stage writes."""
    lock = tree.read(LOCK)
    stages = dvc_files.parse_lock(lock) if lock else {}
    made = {out.path for stage in stages.values() for out in stage.outs}
    parts = [
        (name, stage.cmd, sorted((dep.path, dep.md5) for dep in stage.deps if dep.path not in made))
        for name, stage in sorted(stages.items())
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest() if parts else ""


@cache
def _code() -> str:
    """A digest of the code that reads and judges: what is kept holds for this code only."""
    rooms = [Path(room.__path__[0]).glob("*.py") for room in (digits.gate, ops.gate)]
    paths = sorted([*map(Path, CODE), *(path for room in rooms for path in room)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8]
