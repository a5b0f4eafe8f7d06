"""python-gitlab: a project and a new issue."""

import os

import gitlab
from turns import turns


def calls():
    client = gitlab.Gitlab(private_token=os.environ["GITLAB_TOKEN"])
    project = client.projects.get("acme/notes")
    yield project
    yield project.issues.create({"title": "A title"})


turns(calls)
