// An authorization server: npm's oidc-provider behind Node's own TLS, issuing JWT access tokens by client credentials.
// Usage: node oidc-provider.mjs SETTINGS.json, with { modules, port, issuer, cert, key, audience, ttl, clients: [{ id, secret }] }.
// Prints a line `granted CLIENT basic` or `granted CLIENT post` for each token that it issues: how the client showed its secret.
// It takes both ways from every client, as oidc-provider does.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { resolve } = createRequire(`${settings.modules}/package.json`);
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

const signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(settings.issuer, {
  jwks: { keys: [{ ...signingKey, use: 'sig', alg: 'ES256', kid: randomBytes(8).toString('hex') }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  clients: settings.clients.map(({ id, secret }) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: settings.ttl },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // A client that names no resource gets a token for the one API that there is.
      defaultResource: () => settings.audience,
      getResourceServerInfo: () => ({
        audience: settings.audience,
        scope: 'read write',
        accessTokenTTL: settings.ttl,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.on('grant.success', (ctx) => {
  console.log(`granted ${ctx.oidc.client.clientId} ${ctx.headers.authorization ? 'basic' : 'post'}`);
});
provider.on('server_error', (_ctx, error) => console.error(error));

const tls = { cert: readFileSync(settings.cert), key: readFileSync(settings.key) };
createServer(tls, provider.callback()).listen(settings.port, '127.0.0.1');
