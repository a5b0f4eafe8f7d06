"""The official OpenAI SDK: one chat completion and one that streams. Configured by its own variables (OPENAI_BASE_URL, OPENAI_API_KEY).

Prints {"chat": …, "stream": …}: each {"status", "text"} (for the stream also "events" and "first_ms"), or what `outcome` says.
"""

import openai

from report import outcome, report, stopwatch

MESSAGES = [{"role": "user", "content": "hello"}]


def chat(client):
    answer = client.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES, max_tokens=20)
    return {"status": answer.status_code, "text": answer.parse().choices[0].message.content}


def stream(client):
    elapsed_ms = stopwatch()
    with client.chat.completions.with_streaming_response.create(
        model="tiny", messages=MESSAGES, max_tokens=20, stream=True
    ) as answer:
        first_ms, text, events = None, "", 0
        for event in answer.parse():
            first_ms = first_ms or elapsed_ms()
            events += 1
            text += (event.choices[0].delta.content or "") if event.choices else ""
        return {"status": answer.status_code, "text": text, "events": events, "first_ms": first_ms}


def main():
    client = openai.OpenAI(max_retries=0, timeout=20)
    report({call.__name__: outcome(openai, lambda: call(client)) for call in (chat, stream)})


if __name__ == "__main__":
    main()
