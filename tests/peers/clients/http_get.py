"""One GET with each of Python's HTTP clients: requests, httpx over HTTP/1.1 and httpx over h2 (httpx as strict as Python 3.13 is). Usage: http_get.py URL; TOKEN, if set, is sent as a bearer.

Prints {"requests": …, "httpx": …, "httpx_h2": …}: each {"status", "version", "body"} or {"error", "message"}.
"""

import os
import ssl
import sys

import httpx
import requests

from report import report


def with_requests(url, headers):
    answer = requests.get(url, headers=headers, timeout=20)
    return {"status": answer.status_code, "version": answer.raw.version_string, "body": answer.text}


def as_strict_as_python_3_13():
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def with_httpx(url, headers, http2):
    with httpx.Client(http2=http2, timeout=20, verify=as_strict_as_python_3_13()) as client:
        answer = client.get(url, headers=headers)
        return {"status": answer.status_code, "version": answer.http_version, "body": answer.text}


def main():
    url = sys.argv[1]
    token = os.environ.get("TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    calls = {
        "requests": lambda: with_requests(url, headers),
        "httpx": lambda: with_httpx(url, headers, http2=False),
        "httpx_h2": lambda: with_httpx(url, headers, http2=True),
    }
    results = {}
    for name, call in calls.items():
        try:
            results[name] = call()
        except (requests.RequestException, httpx.HTTPError) as error:
            results[name] = {"error": type(error).__name__, "message": str(error)}
    report(results)


if __name__ == "__main__":
    main()
