"""The official Anthropic SDK, set up for a key (ANTHROPIC_API_KEY) or for a token (ANTHROPIC_AUTH_TOKEN)."""

import anthropic
from turns import turns


def calls():
    client = anthropic.Anthropic(max_retries=0)
    yield client.models.list()
    yield client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])


turns(calls)
