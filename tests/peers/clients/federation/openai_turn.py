"""The official OpenAI SDK, as its users set it up for a key: one completion, and its text."""

import openai

client = openai.OpenAI(max_retries=0)
completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
print(completion.choices[0].message.content)
