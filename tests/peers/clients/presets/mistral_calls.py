"""The official Mistral SDK."""

import os

from mistralai.client import Mistral
from turns import turns


def calls():
    client = Mistral(api_key=os.environ["MISTRAL_API_KEY"])
    yield client.models.list()
    yield client.chat.complete(model="m", messages=[{"role": "user", "content": "hi"}])


turns(calls)
