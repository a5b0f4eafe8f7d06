// An authorization server that people log in at: npm's oidc-provider behind Node's own TLS, with authorization code and PKCE,
// device codes, and refresh tokens that rotate: one that is used twice ends the whole grant.
// Usage: node oidc-login.mjs SETTINGS.json, with { modules, port, issuer, cert, key, ttl, deviceTtl, clients }; `clients` is as
// oidc-provider has it.
// Whoever comes to /interaction/… is logged in and consents; with `?deny`, nobody is.
// Prints `granted CLIENT GRANT_TYPE` for each answer of the token endpoint, `refused CLIENT ERROR`, and `ended GRANT` for
// each grant that is over.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { resolve } = createRequire(`${settings.modules}/package.json`);
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

const provider = new Provider(settings.issuer, {
  cookies: { keys: [randomBytes(16).toString('hex')] },
  clients: settings.clients,
  scopes: ['openid', 'offline_access', 'calendar'],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: {
    AccessToken: settings.ttl,
    DeviceCode: settings.deviceTtl,
    RefreshToken: 3600,
    Grant: 3600,
    Session: 3600,
    Interaction: 600,
  },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
  },
});

const client = (ctx) => ctx.oidc.client?.clientId ?? '?';
provider.on('grant.success', (ctx) => console.log(`granted ${client(ctx)} ${ctx.oidc.params.grant_type}`));
provider.on('grant.error', (ctx, error) => console.log(`refused ${client(ctx)} ${error.error}`));
provider.on('grant.revoked', (_ctx, id) => console.log(`ended ${id}`));
provider.on('server_error', (_ctx, error) => console.error(error));

async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (request.url.endsWith('?deny')) {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: 'robin' } });
    return;
  }
  const known = grantId && (await provider.Grant.find(grantId));
  const grant = known || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const handle = provider.callback();
const tls = { cert: readFileSync(settings.cert), key: readFileSync(settings.key) };
createServer(tls, (request, response) => {
  if (!request.url.startsWith('/interaction/')) {
    handle(request, response);
    return;
  }
  interact(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
}).listen(settings.port, '127.0.0.1');
