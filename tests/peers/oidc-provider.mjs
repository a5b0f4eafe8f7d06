// An authorization server: npm's oidc-provider behind Node's own TLS, issuing JWT access tokens by client credentials.
// Usage: node oidc-provider.mjs SETTINGS.json, with { modules, port, issuer, cert, key, ca, audience, ttl, clients: [{ id, secret,
// metadata }] }; `metadata` are more of a client's own, by their registered names.
// Prints a line `granted CLIENT basic` or `granted CLIENT post` for each token that it issues: how the client showed its secret.
// It takes both ways from every client, as oidc-provider does. A client that proves itself otherwise has the name of that way
// there. Prints `revoked CLIENT` for each token that is ended.
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
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none',
  ],
  clients: settings.clients.map(({ id, secret, metadata }) => ({
    client_id: id,
    ...(secret && { client_secret: secret }),
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...metadata,
  })),
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: settings.ttl },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_dns' &&
        ctx.socket.getPeerX509Certificate().subjectAltName.split(', ').includes(`DNS:${expected}`),
    },
    resourceIndicators: {
      enabled: true,
      // A client that names no resource gets a token for the one API that there is.
      defaultResource: () => settings.audience,
      // Tokens of which the server keeps account, so that it can end them, are for what ends with /opaque.
      getResourceServerInfo: (_ctx, resource) => ({
        audience: settings.audience,
        scope: 'read write',
        accessTokenTTL: settings.ttl,
        accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.on('grant.success', (ctx) => {
  const { clientId, clientAuthMethod } = ctx.oidc.client;
  const byPost = clientAuthMethod === 'client_secret_basic' ? 'post' : clientAuthMethod;
  console.log(`granted ${clientId} ${ctx.headers.authorization ? 'basic' : byPost}`);
});
provider.on('grant.error', (_ctx, error) => console.log(`refused ${error.error}: ${error.error_detail ?? error.error_description}`));
provider.on('client_credentials.destroyed', (token) => console.log(`revoked ${token.clientId}`));
provider.on('server_error', (_ctx, error) => console.error(error));

const tls = { cert: readFileSync(settings.cert), key: readFileSync(settings.key) };
const asked = { requestCert: true, rejectUnauthorized: false, ca: readFileSync(settings.ca) };
createServer({ ...tls, ...asked }, provider.callback()).listen(settings.port, '127.0.0.1');
