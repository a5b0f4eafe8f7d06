"""The official Groq SDK."""

import groq
from turns import turns


def calls():
    client = groq.Groq(max_retries=0)
    yield client.models.list()
    yield client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


turns(calls)
