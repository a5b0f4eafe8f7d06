"""hvac: with the token of its environment, and after a login of its own."""

import os

import hvac
from turns import turns


def calls():
    client = hvac.Client(url="https://vault.acme.test", token=os.environ["VAULT_TOKEN"], timeout=30)
    yield client.secrets.kv.v2.read_secret_version(path="app", raise_on_deleted_version=True)
    client.auth.approle.login(role_id="app", secret_id="what-the-application-believes-in")
    if not client.is_authenticated():
        raise RuntimeError("the login is of no use")
    yield client.secrets.kv.v2.create_or_update_secret(path="app", secret={"user": "app"})
    yield client.secrets.database.generate_credentials("app")
    client.auth.token.revoke_self()


turns(calls)
