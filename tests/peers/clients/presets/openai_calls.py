"""The official OpenAI SDK."""

import openai
from turns import turns


def calls():
    client = openai.OpenAI(max_retries=0)
    yield client.models.list()
    yield client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


turns(calls)
