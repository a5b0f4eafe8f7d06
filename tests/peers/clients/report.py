"""What the Python clients share: how they tell the test what happened."""

import json
import sys
import time


def outcome(sdk, call):
    """What the call returns; {"status", "body"} when the server refused; {"error", "message"} when there was no answer."""
    try:
        return call()
    except sdk.APIStatusError as error:
        return {"status": error.status_code, "body": error.response.text}
    except sdk.APIConnectionError as error:
        return {"error": type(error).__name__, "message": f"{error}: {error.__cause__}"}


def stopwatch():
    start = time.monotonic()
    return lambda: round((time.monotonic() - start) * 1000, 1)


def report(result):
    json.dump(result, sys.stdout)
    print()
