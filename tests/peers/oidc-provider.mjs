// An authorization server: npm's oidc-provider behind Node's own TLS, issuing JWT access tokens by client credentials.
// Usage: node oidc-provider.mjs SETTINGS.json, with { modules, port, issuer, cert, key, ca, audience, ttl, trusted, clients: [{ id,
// secret, metadata }] }; `metadata` are more of a client's own, by their registered names, `trusted` the key sets of other
// issuers, by their names.
// Prints a line `granted CLIENT basic` or `granted CLIENT post` for each token that it issues: how the client showed its secret.
// It takes both ways from every client, as oidc-provider does. A client that proves itself otherwise has the name of that way
// there. Prints `revoked CLIENT` for each token that is ended.
// Tokens of trusted issuers can be exchanged (RFC 8693), which oidc-provider leaves to who runs it: this file verifies subject
// and actor, for this server, by jose, and the rest is oidc-provider's: clients, parameters, tokens, introspection, revocation.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { resolve } = createRequire(`${settings.modules}/package.json`);
const { default: Provider, errors } = await import(pathToFileURL(resolve('oidc-provider')));
const { createLocalJWKSet, decodeJwt, jwtVerify } = await import(pathToFileURL(resolve('jose')));

const signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

// Tokens of which the server keeps account, so that it can end them, are for what ends with /opaque.
const resourceServer = (resource) => ({
  audience: settings.audience,
  scope: 'read write',
  accessTokenTTL: settings.ttl,
  accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
  jwt: { sign: { alg: 'ES256' } },
});

// Who acts, by the token that says so.
const acts = new WeakMap();

const provider = new Provider(settings.issuer, {
  extraTokenClaims: (_ctx, token) => acts.get(token),
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
    introspection: { enabled: true },
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
      getResourceServerInfo: (_ctx, resource) => resourceServer(resource),
    },
  },
});
// A token that this request shows as `subject` or `actor`: its claims.
async function shown(params, kind) {
  const token = params[`${kind}_token`];
  if (params[`${kind}_token_type`] !== 'urn:ietf:params:oauth:token-type:jwt') {
    throw new errors.InvalidRequest(`${kind}_token_type is not supported`);
  }
  try {
    const { iss } = decodeJwt(token);
    const options = { issuer: iss, audience: settings.issuer, algorithms: ['ES256'], requiredClaims: ['sub', 'exp', 'iat'] };
    return (await jwtVerify(token, createLocalJWKSet(settings.trusted[iss]), options)).payload;
  } catch (error) {
    throw new errors.InvalidGrant(`${kind}_token: ${error.message}`);
  }
}

const accessToken = 'urn:ietf:params:oauth:token-type:access_token';
const ofExchange = [
  'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'resource', 'audience', 'scope',
];
provider.registerGrantType('urn:ietf:params:oauth:grant-type:token-exchange', async (ctx) => {
  const { client, params } = ctx.oidc;
  if (!params.subject_token || (params.actor_token_type && !params.actor_token)) {
    throw new errors.InvalidRequest('subject_token is missing, or actor_token_type is without actor_token');
  }
  if (params.requested_token_type && params.requested_token_type !== accessToken) {
    throw new errors.InvalidRequest('requested_token_type is not supported');
  }
  const subject = await shown(params, 'subject');
  const actor = params.actor_token && (await shown(params, 'actor'));
  const resource = params.resource ?? settings.audience;
  const token = new provider.AccessToken({ client, accountId: subject.sub, gty: 'token_exchange', scope: params.scope });
  acts.set(token, actor && { act: { sub: actor.sub, iss: actor.iss } });
  token.resourceServer = new provider.ResourceServer(resource, resourceServer(resource));
  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: accessToken,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: token.scope,
  };
}, ofExchange);

provider.on('grant.success', (ctx) => {
  const { clientId, clientAuthMethod } = ctx.oidc.client;
  const byPost = clientAuthMethod === 'client_secret_basic' ? 'post' : clientAuthMethod;
  console.log(`granted ${clientId} ${ctx.headers.authorization ? 'basic' : byPost}`);
});
provider.on('grant.error', (_ctx, error) => console.log(`refused ${error.error}: ${error.error_detail ?? error.error_description}`));
provider.on('client_credentials.destroyed', (token) => console.log(`revoked ${token.clientId}`));
provider.on('access_token.destroyed', (token) => console.log(`revoked ${token.clientId}`));
provider.on('server_error', (_ctx, error) => console.error(error));

const tls = { cert: readFileSync(settings.cert), key: readFileSync(settings.key) };
const asked = { requestCert: true, rejectUnauthorized: false, ca: readFileSync(settings.ca) };
createServer({ ...tls, ...asked }, provider.callback()).listen(settings.port, '127.0.0.1');
