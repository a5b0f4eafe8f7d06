"""An application that logs in to Vault itself, with hvac, and reads a secret of KV version 2.

Usage: vault_login.py VAULT_URL approle|jwt. ROLE_ID and SECRET_ID, or JWT, are what it believes in.

Prints one JSON object: what each call returned, or {"error", "message"}.
"""

import os
import sys

import hvac
import hvac.exceptions

from report import report


def outcome(call):
    try:
        return call()
    except hvac.exceptions.VaultError as error:
        return {"error": type(error).__name__, "message": str(error)}


def log_in(client, way):
    if way == "approle":
        return client.auth.approle.login(role_id=os.environ["ROLE_ID"], secret_id=os.environ["SECRET_ID"])
    answer = client.auth.jwt.jwt_login(role="app", jwt=os.environ["JWT"])
    client.token = answer["auth"]["client_token"]
    return answer


def main():
    client = hvac.Client(url=sys.argv[1], timeout=30)
    found = {"before": client.is_authenticated()}
    found["login"] = outcome(lambda: log_in(client, sys.argv[2]))
    found["after"] = client.is_authenticated()
    found["secret"] = outcome(lambda: client.secrets.kv.v2.read_secret_version(path="app", raise_on_deleted_version=True))
    found["lookup"] = outcome(client.auth.token.lookup_self)
    found["lookup_named"] = outcome(lambda: client.auth.token.lookup(client.token))
    found["renewed"] = outcome(client.auth.token.renew_self)
    found["created"] = outcome(lambda: client.auth.token.create(policies=["default"]))
    found["wrapped"] = outcome(lambda: client.adapter.get("/v1/secret/data/app", wrap_ttl="60s"))
    found["absent"] = outcome(lambda: client.secrets.kv.v2.read_secret_version(path="absent", raise_on_deleted_version=True))
    client.auth.token.revoke_self()
    report(found)


if __name__ == "__main__":
    main()
