"""The official Anthropic SDK, as its users set it up for a key: one message, and its text."""

import anthropic

client = anthropic.Anthropic(max_retries=0)
message = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
print(message.content[0].text)
