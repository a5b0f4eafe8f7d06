"""One call of one Python client, as its documentation writes it. Usage: clients.py CLIENT BASE_URL

Prints what the origin answered: a line that only the origin knows. What goes wrong is an exception. API_KEY is what the
program takes for its key.
"""

import os
import sys

KEY = os.environ["API_KEY"]
BEARER = {"Authorization": f"Bearer {KEY}"}


def with_requests(base):
    import requests

    answer = requests.get(f"{base}/v1/items", headers=BEARER, timeout=30)
    answer.raise_for_status()
    return answer.json()["said"]


def with_httpx(base):
    import httpx

    return httpx.get(f"{base}/v1/items", headers=BEARER, timeout=30).raise_for_status().json()["said"]


def with_aiohttp(base):
    import asyncio

    import aiohttp

    async def get():
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/v1/items", headers=BEARER) as answer:
                answer.raise_for_status()
                return (await answer.json())["said"]

    return asyncio.run(get())


def with_urllib3(base):
    import json

    import urllib3

    answer = urllib3.PoolManager().request("GET", f"{base}/v1/items", headers=BEARER, retries=False, timeout=30)
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {answer.data[:200]}")
    return json.loads(answer.data)["said"]


def with_urllib(base):
    import json
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(f"{base}/v1/items", headers=BEARER), timeout=30) as answer:
        return json.load(answer)["said"]


def with_boto3(base):
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    # The signature is another service's matter; here the transport counts.
    config = Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, s3={"addressing_style": "path"})
    s3 = boto3.client("s3", endpoint_url=base, region_name="us-east-1", config=config)
    return s3.get_object(Bucket="bucket", Key="key")["Body"].read().decode()


def with_openai(base):
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=f"{base}/v1", max_retries=0)
    answer = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hello"}])
    return answer.choices[0].message.content


def with_anthropic(base):
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=base, max_retries=0)
    message = [{"role": "user", "content": "hello"}]
    return client.messages.create(model="tiny", max_tokens=9, messages=message).content[0].text


def with_pygithub(base):
    import github

    return github.Github(auth=github.Auth.Token(KEY), base_url=base, retry=None).get_repo("acme/notes").description


def with_slack(base):
    from slack_sdk import WebClient

    client = WebClient(token=KEY, base_url=f"{base}/api/")
    return client.chat_postMessage(channel="C1", text="hello")["message"]["text"]


def with_stripe(base):
    import stripe

    client = stripe.StripeClient(KEY, base_addresses={"api": base}, max_network_retries=0)
    return client.v1.customers.retrieve("cus_1").description


def with_grpcio(base):
    from urllib.parse import urlsplit

    import grpc

    at = urlsplit(base)
    if at.scheme != "https":
        raise RuntimeError("a channel has no base path")
    with grpc.secure_channel(f"{at.hostname}:{at.port or 443}", grpc.ssl_channel_credentials()) as channel:
        return channel.unary_unary("/items.Items/Get")(b"hello", timeout=30, metadata=[("authorization", f"Bearer {KEY}")]).decode()


if __name__ == "__main__":
    print(globals()[f"with_{sys.argv[1]}"](sys.argv[2]))
