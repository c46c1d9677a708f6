"""Which jobs a pipeline of GitLab has, and what they may do."""

import re

import pytest

from tests.helpers import gitlab_jobs
from tests.helpers.gitlab_jobs import gitlab_job, jobs_started, read

MAIN = {"CI_COMMIT_BRANCH": "trunk", "CI_DEFAULT_BRANCH": "trunk"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_DEFAULT_BRANCH": "trunk"}
PUSH = {"CI_PIPELINE_SOURCE": "push", **MAIN}
SET_UP = {"DEPLOY_URL": "s3://models/digits", "PUBLISH_SITE": "true"}
GROUP = "resource_group"
ALL_TASKS = {"TASK": "retrain", "VERSION": "1.2.0"}  # as a stranger would name them


@pytest.mark.parametrize(
    ("variables", "jobs"),
    [
        (MERGE_REQUEST | SET_UP | ALL_TASKS, {"compare", "test"}),
        (PUSH, {"test"}),
        (PUSH | SET_UP, {"test", "promote-to-staging", "pages"}),
        (PUSH | SET_UP | {"CI_COMMIT_BRANCH": "wider"}, set()),
        (MAIN | {"CI_PIPELINE_SOURCE": "schedule", "TASK": "comment"}, {"comment"}),
        (MAIN | {"CI_PIPELINE_SOURCE": "schedule", "TASK": "retrain"}, {"retrain"}),
        (MAIN | {"CI_PIPELINE_SOURCE": "schedule", "TASK": "predict"} | SET_UP, {"predict"}),
        (MAIN | {"CI_PIPELINE_SOURCE": "schedule"} | SET_UP, set()),
        (
            MAIN | {"CI_PIPELINE_SOURCE": "web", "VERSION": "1.2.0"} | SET_UP,
            {"promote-to-production"},
        ),
        (MAIN | {"CI_PIPELINE_SOURCE": "web"} | SET_UP, set()),
        (MAIN | {"CI_PIPELINE_SOURCE": "web", "VERSION": "1.2.0"}, set()),
    ],
)
def test_a_pipeline_has_the_jobs_of_its_purpose(variables: dict[str, str], jobs: set[str]) -> None:
    assert jobs_started(variables, ["dvc.lock"]) == jobs


def test_a_merge_that_leaves_the_model_promotes_nothing() -> None:
    assert "promote-to-staging" not in jobs_started(PUSH | SET_UP, ["README.md"])


@pytest.mark.parametrize(
    ("tag", "jobs"),
    [
        ("digit-classifier#production#12", {"deploy-to-production", "pages"}),
        ("digit-classifier#staging#1", {"deploy-to-staging", "pages"}),
        ("digit-classifier@v1.0.0", set()),
        ("digit-classifier#production!#12", set()),
    ],
)
def test_a_stage_tag_starts_a_deployment_and_no_other_does(tag: str, jobs: set[str]) -> None:
    variables = {"CI_PIPELINE_SOURCE": "push", "CI_DEFAULT_BRANCH": "trunk", "CI_COMMIT_TAG": tag}
    assert jobs_started(variables | SET_UP) == jobs


def test_what_runs_a_strangers_code_neither_pushes_nor_deploys() -> None:
    for name in jobs_started(MERGE_REQUEST | SET_UP):
        job = gitlab_job(name)
        assert "environment" not in job
        assert not re.search("TOKEN|git push|ops.deploy|registry", str(job["script"]))


def test_the_report_of_a_change_that_is_blocked_is_kept() -> None:
    assert gitlab_job("compare")["artifacts"]["when"] == "always"


def test_every_job_has_a_stage_and_none_runs_twice_at_a_time_where_it_writes() -> None:
    groups = [group for name in gitlab_jobs.names() if (group := gitlab_job(name).get(GROUP))]
    assert len(set(groups)) == len(groups)  # and none waits for another
    for name in gitlab_jobs.names():
        job = gitlab_job(name)
        assert job["stage"] in read()["stages"]
        assert job.get("interruptible") or GROUP in job
