"""The official Anthropic SDK: one message and one that streams. Configured by its own variables (ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN).

Prints {"message": …, "stream": …}: each {"status", "text"} (for the stream also "events" and "first_ms"), or what `outcome` says.
"""

import anthropic

from report import outcome, report, stopwatch

CALL = {"model": "tiny", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}


def message(client):
    answer = client.messages.with_raw_response.create(**CALL)
    return {"status": answer.status_code, "text": answer.parse().content[0].text}


def stream(client):
    elapsed_ms = stopwatch()
    with client.messages.stream(**CALL) as answer:
        first_ms, events = None, 0
        for _ in answer:
            first_ms = first_ms or elapsed_ms()
            events += 1
        return {
            "status": answer.response.status_code,
            "text": answer.get_final_text(),
            "events": events,
            "first_ms": first_ms,
        }


def main():
    client = anthropic.Anthropic(max_retries=0, timeout=20)
    report({call.__name__: outcome(anthropic, lambda: call(client)) for call in (message, stream)})


if __name__ == "__main__":
    main()
