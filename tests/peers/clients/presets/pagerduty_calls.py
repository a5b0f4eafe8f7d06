"""The official PagerDuty client: its REST API."""

import os

import pagerduty
from turns import turns


def calls():
    client = pagerduty.RestApiV2Client(os.environ["PAGERDUTY_API_KEY"], default_from="me@acme.test")
    yield client.rget("/users/me")
    incident = {"type": "incident", "title": "t", "service": {"id": "S1", "type": "service_reference"}}
    yield client.rpost("incidents", json=incident)


turns(calls)
