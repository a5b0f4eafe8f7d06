// The official OpenAI SDK.
import OpenAI from "openai";

async function* calls() {
    const client = new OpenAI({ maxRetries: 0 });
    yield await client.models.list();
    yield await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "hi" }] });
}
