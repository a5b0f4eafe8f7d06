// The official Slack SDK.
import { WebClient } from "@slack/web-api";

async function* calls() {
    const client = new WebClient(process.env.SLACK_BOT_TOKEN, { retryConfig: { retries: 0 } });
    yield await client.auth.test();
    yield await client.chat.postMessage({ channel: "C1", text: "hi" });
}
