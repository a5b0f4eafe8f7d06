"""The official PagerDuty client: the REST API with a key, and an event with a routing key."""

import os

import pagerduty
from turns import turns


def calls():
    client = pagerduty.RestApiV2Client(os.environ["PAGERDUTY_API_KEY"], default_from="me@acme.test")
    client.max_http_attempts = 1
    yield client.rget("/users/me")
    yield client.rpost("incidents", json={"type": "incident", "title": "t", "service": {"id": "S1", "type": "service_reference"}})


turns(calls)
