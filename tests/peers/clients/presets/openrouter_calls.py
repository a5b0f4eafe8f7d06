"""The OpenAI SDK with OpenRouter's base URL, as OpenRouter documents it."""

import os

import openai
from turns import turns


def calls():
    client = openai.OpenAI(
        base_url="https://openrouter.ai/api/v1", api_key=os.environ["OPENROUTER_API_KEY"], max_retries=0
    )
    yield client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


turns(calls)
