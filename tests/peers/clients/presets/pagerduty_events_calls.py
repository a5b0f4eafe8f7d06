"""The official PagerDuty client: an event with a routing key."""

import os

import pagerduty
from turns import turns


def calls():
    client = pagerduty.EventsApiV2Client(os.environ["PAGERDUTY_ROUTING_KEY"])
    yield client.trigger("a summary", "a source")


turns(calls)
