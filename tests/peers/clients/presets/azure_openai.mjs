// The official OpenAI SDK's client for Azure.
import { AzureOpenAI } from "openai";

async function* calls() {
    const client = new AzureOpenAI({ maxRetries: 0 });
    yield await client.chat.completions.create({ model: "gpt", messages: [{ role: "user", content: "hi" }] });
}
