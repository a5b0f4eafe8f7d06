"""The official Hugging Face client: the hub (who am I, a model, one of its files) and inference."""

import tempfile

from huggingface_hub import HfApi, InferenceClient
from turns import turns


def calls():
    api = HfApi()
    yield api.whoami()
    yield api.model_info("acme/small")
    with tempfile.TemporaryDirectory() as cache:
        yield open(api.hf_hub_download("acme/small", "config.json", cache_dir=cache)).read()
    chat = InferenceClient(base_url="https://router.huggingface.co/v1")
    yield chat.chat.completions.create(model="acme/small", messages=[{"role": "user", "content": "hi"}])


turns(calls)
