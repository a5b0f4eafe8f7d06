// The official Anthropic SDK.
import Anthropic from "@anthropic-ai/sdk";

async function* calls() {
    const client = new Anthropic({ maxRetries: 0 });
    yield await client.models.list();
    yield await client.messages.create({ model: "m", max_tokens: 9, messages: [{ role: "user", content: "hi" }] });
}
