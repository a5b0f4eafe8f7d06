// One call of one Node client, as its documentation writes it. Usage: clients.mjs CLIENT BASE_URL MODULES
//
// Prints what the origin answered: a line that only the origin knows. What goes wrong is an exception. API_KEY is what
// the program takes for its key.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [client, base, modules] = process.argv.slice(2);
const key = process.env.API_KEY;
const headers = { authorization: `Bearer ${key}` };
const require = createRequire(`${modules}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const clients = {
  async fetch() {
    const answer = await fetch(`${base}/v1/items`, { headers });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.json()).said;
  },

  async https() {
    const { get } = await (base.startsWith('https:') ? import('node:https') : import('node:http'));
    return new Promise((resolve, reject) => {
      get(`${base}/v1/items`, { headers }, async (answer) => {
        let text = '';
        for await (const chunk of answer) text += chunk;
        if (answer.statusCode === 200) resolve(JSON.parse(text).said);
        else reject(new Error(`${answer.statusCode} ${text}`));
      }).on('error', reject);
    });
  },

  async undici() {
    const { request } = await load('undici');
    const { statusCode, body } = await request(`${base}/v1/items`, { headers });
    if (statusCode !== 200) throw new Error(`${statusCode} ${await body.text()}`);
    return (await body.json()).said;
  },

  async axios() {
    const { default: axios } = await load('axios');
    return (await axios.get(`${base}/v1/items`, { headers })).data.said;
  },

  async openai() {
    const { default: OpenAI } = await load('openai');
    const openai = new OpenAI({ apiKey: key, baseURL: `${base}/v1`, maxRetries: 0 });
    const messages = [{ role: 'user', content: 'hello' }];
    return (await openai.chat.completions.create({ model: 'tiny', messages })).choices[0].message.content;
  },

  async anthropic() {
    const { default: Anthropic } = await load('@anthropic-ai/sdk');
    const anthropic = new Anthropic({ apiKey: key, baseURL: base, maxRetries: 0 });
    const messages = [{ role: 'user', content: 'hello' }];
    return (await anthropic.messages.create({ model: 'tiny', max_tokens: 9, messages })).content[0].text;
  },

  async octokit() {
    const { Octokit } = await load('octokit');
    const octokit = new Octokit({ auth: key, baseUrl: base, retry: { enabled: false } });
    return (await octokit.rest.repos.get({ owner: 'acme', repo: 'notes' })).data.description;
  },

  async slack() {
    const { WebClient } = await load('@slack/web-api');
    const slack = new WebClient(key, { slackApiUrl: `${base}/api/`, retryConfig: { retries: 0 } });
    return (await slack.chat.postMessage({ channel: 'C1', text: 'hello' })).message.text;
  },

  async stripe() {
    const { default: Stripe } = await load('stripe');
    const { protocol, hostname: host, port, pathname } = new URL(base);
    if (pathname !== '/') throw new Error('its base has no path');
    const at = { protocol: protocol.slice(0, -1), host, ...(port && { port }) };
    const stripe = new Stripe(key, { ...at, maxNetworkRetries: 0 });
    return (await stripe.customers.retrieve('cus_1')).description;
  },
};

console.log(await clients[client]());
process.exit();
