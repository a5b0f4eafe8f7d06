"""The jira client for Jira Cloud: the user's e-mail address and an API token by basic authentication."""

import os

from jira import JIRA
from turns import turns


def calls():
    user = os.environ.get("JIRA_USER", "me@acme.test")
    client = JIRA("https://acme.atlassian.net", basic_auth=(user, os.environ["JIRA_API_TOKEN"]), max_retries=0)
    yield client.myself()
    yield client.create_issue(project="NOTES", summary="A title", issuetype={"name": "Task"})


turns(calls)
