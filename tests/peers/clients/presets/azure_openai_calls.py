"""The official OpenAI SDK's client for Azure: AZURE_OPENAI_ENDPOINT and OPENAI_API_VERSION are the application's own."""

import openai
from turns import turns


def calls():
    client = openai.AzureOpenAI(max_retries=0)
    yield client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "hi"}])


turns(calls)
