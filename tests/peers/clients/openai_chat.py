"""The official OpenAI SDK: one chat completion and one that streams. Configured by its own variables (OPENAI_BASE_URL, OPENAI_API_KEY).
MODEL names another model than the usual one; STREAMS asks for that many more streams, to measure them.

Prints {"chat": …, "stream": …}: each {"status", "text"} (for the stream also "events" and "first_ms"), or what `outcome` says;
with STREAMS also {"first_ms": […]}.
"""

import os

import openai

from report import outcome, report, stopwatch

CALL = {
    "model": os.environ.get("MODEL", "tiny"),
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "hello"}],
}


def chat(client):
    answer = client.chat.completions.with_raw_response.create(**CALL)
    return {"status": answer.status_code, "text": answer.parse().choices[0].message.content}


def stream(client):
    elapsed_ms = stopwatch()
    with client.chat.completions.with_streaming_response.create(**CALL, stream=True) as answer:
        first_ms, text, events = None, "", 0
        for event in answer.parse():
            first_ms = first_ms or elapsed_ms()
            events += 1
            text += (event.choices[0].delta.content or "") if event.choices else ""
        return {"status": answer.status_code, "text": text, "events": events, "first_ms": first_ms}


def main():
    client = openai.OpenAI(max_retries=0, timeout=20)
    result = {call.__name__: outcome(openai, lambda: call(client)) for call in (chat, stream)}
    more = int(os.environ.get("STREAMS", "0"))
    if more:
        result["first_ms"] = [stream(client)["first_ms"] for _ in range(more)]
    report(result)


if __name__ == "__main__":
    main()
