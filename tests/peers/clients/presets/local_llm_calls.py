"""The OpenAI SDK with the base URL of a server on this machine: BASE_URL, and its key in the variable that KEY names."""

import os

import openai
from turns import turns


def calls():
    client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ[os.environ["KEY"]], max_retries=0)
    yield client.models.list()
    yield client.chat.completions.create(
        model="tiny", max_tokens=8, messages=[{"role": "user", "content": "hi"}]
    )


turns(calls)
