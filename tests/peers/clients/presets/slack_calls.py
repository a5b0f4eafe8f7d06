"""The official Slack SDK."""

import os

from slack_sdk import WebClient
from turns import turns


def calls():
    client = WebClient(token=os.environ["SLACK_BOT_TOKEN"], retry_handlers=[])
    yield client.auth_test().data
    yield client.chat_postMessage(channel="C1", text="hi").data


turns(calls)
