"""PyGithub: a repository, one of its issues, a new issue; a release's asset goes to another host."""

import os
import tempfile

from github import Auth, Github
from turns import turns


def calls():
    client = Github(auth=Auth.Token(os.environ["GITHUB_TOKEN"]), retry=None)
    repository = client.get_repo("acme/notes")
    yield repository
    yield repository.create_issue("A title")
    with tempfile.NamedTemporaryFile(suffix=".txt") as asset:
        asset.write(b"an asset")
        asset.flush()
        yield repository.get_release(1).upload_asset(asset.name, content_type="text/plain", name="asset.txt")


turns(calls)
