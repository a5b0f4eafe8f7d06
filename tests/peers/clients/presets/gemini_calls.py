"""The official Google Gen AI SDK."""

from google import genai
from turns import turns


def calls():
    client = genai.Client()
    yield client.models.generate_content(model="m", contents="hi")
    yield client.models.get(model="m")


turns(calls)
