"""An application that logs in by OAuth 2.0 itself, with Authlib and with requests-oauthlib, and calls an API with what it got.

Usage: oauth_login.py TOKEN_URL API_URL. CLIENT_ID and CLIENT_SECRET are what it believes in.

Prints {"authlib": …, "requests_oauthlib": …}: each {"token": {…}, "status", "body"}, or {"error", "description"}.
"""

import os
import sys

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

from report import report


def called(session, token, url):
    answer = session.get(url, timeout=30)
    return {"token": dict(token), "status": answer.status_code, "body": answer.text}


def with_authlib(client, secret, token_url, url):
    try:
        session = AuthlibSession(client, secret, token_endpoint_auth_method="client_secret_basic")
        return called(session, session.fetch_token(token_url, grant_type="client_credentials"), url)
    except OAuthError as error:
        return {"error": error.error, "description": error.description}


def with_requests_oauthlib(client, secret, token_url, url):
    try:
        session = OAuth2Session(client=BackendApplicationClient(client_id=client), scope=["read"])
        token = session.fetch_token(token_url, client_id=client, client_secret=secret, include_client_id=True)
        return called(session, token, url)
    except OAuth2Error as error:
        return {"error": error.error, "description": error.description}


def main():
    client, secret = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
    report(
        {
            "authlib": with_authlib(client, secret, *sys.argv[1:3]),
            "requests_oauthlib": with_requests_oauthlib(client, secret, *sys.argv[1:3]),
        }
    )


if __name__ == "__main__":
    main()
