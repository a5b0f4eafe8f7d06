// Loaded by Node before a program (NODE_OPTIONS=--require), so that what ignores HTTPS_PROXY takes the proxy too: `https`
// and `http` with any agent of Node's own, and `fetch` where Node does not do it by itself. Only Node's own modules, no
// dispatcher or agent that the program brings is replaced, and nothing is loaded that the program does not load.
'use strict';
(() => {
  const mark = Symbol.for('claviger.bootstrap');
  if (globalThis[mark]) return;
  Object.defineProperty(globalThis, mark, { value: true });

  let proxy;
  try {
    proxy = new URL(process.env.HTTPS_PROXY || process.env.https_proxy);
  } catch {
    return;
  }
  if (proxy.protocol !== 'http:') return;

  const http = require('http');
  const https = require('https');
  const net = require('net');
  const tls = require('tls');

  const proxyHost = proxy.hostname.replace(/^\[|\]$/g, '');
  const proxyPort = Number(proxy.port) || 80;
  const userAndPassword = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const proof = proxy.username ? `Basic ${Buffer.from(userAndPassword).toString('base64')}` : undefined;
  const direct = (process.env.NO_PROXY || process.env.no_proxy || '')
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((entry) => entry.toLowerCase().replace(/^\*?\./, '').replace(/^\[|\]$/g, ''));

  function goesThrough(host, port) {
    if (typeof host !== 'string' || !host) return false;
    host = host.toLowerCase().replace(/^\[|\]$/g, '');
    if (host === proxyHost && Number(port) === proxyPort) return false;
    return !direct.some((entry) => entry === host || entry === `${host}:${port}` || host.endsWith(`.${entry}`));
  }

  // A connection to `host` by CONNECT; `done(error, socket)`.
  function tunnel(host, port, done) {
    const authority = `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`;
    const socket = net.connect({ host: proxyHost, port: proxyPort });
    socket.setNoDelay(true);
    let answer = Buffer.alloc(0);
    const end = (error) => {
      socket.off('data', read);
      socket.off('error', end);
      socket.off('close', closed);
      if (error) socket.destroy();
      done(error, socket);
    };
    const failed = (why) => {
      const error = new Error(`tunnel to ${authority} by the proxy ${proxyHost}:${proxyPort}: ${why}`);
      error.code = 'ERR_PROXY_TUNNEL';
      end(error);
    };
    const closed = () => failed('closed before it answered');
    function read(chunk) {
      answer = Buffer.concat([answer, chunk]);
      const at = answer.indexOf('\r\n\r\n');
      if (at < 0) {
        if (answer.length > 65536) failed('its answer is too long');
        return;
      }
      const head = answer.subarray(0, at).toString('latin1');
      const rest = answer.subarray(at + 4);
      if (!/^HTTP\/1\.[01] 200/.test(head)) {
        failed(`${head.split('\r\n')[0]} ${rest.toString('utf8', 0, 500)}`.trim());
        return;
      }
      socket.pause();
      if (rest.length) socket.unshift(rest);
      end();
    }
    socket.on('data', read);
    socket.on('error', end);
    socket.on('close', closed);
    const header = proof ? `Proxy-Authorization: ${proof}\r\n` : '';
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${header}\r\n`);
  }

  // An agent that Node itself leads through the proxy (NODE_USE_ENV_PROXY, Node 24).
  function isProxied(agent) {
    return Object.getOwnPropertySymbols(agent).some((key) => key.description === 'kProxyConfig' && agent[key]);
  }

  const connectTls = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(...args) {
    const [options, done] = args;
    const isUsual = args.length === 2 && options !== null && typeof options === 'object' && typeof done === 'function';
    const host = isUsual ? options.host || options.hostname : undefined;
    const port = isUsual ? options.port || 443 : undefined;
    if (!isUsual || options.socketPath || options.socket || isProxied(this) || !goesThrough(host, port)) {
      return connectTls.apply(this, args);
    }
    tunnel(host, port, (error, socket) => {
      if (error) {
        done(error);
        return;
      }
      let secure;
      try {
        secure = connectTls.call(this, { ...options, socket });
      } catch (thrown) {
        socket.destroy();
        done(thrown);
        return;
      }
      done(null, secure);
    });
    return undefined;
  };

  const addRequest = http.Agent.prototype.addRequest;
  http.Agent.prototype.addRequest = function (request, options, ...rest) {
    const isUsual =
      Object.getPrototypeOf(this) === http.Agent.prototype &&
      this.protocol === 'http:' &&
      !isProxied(this) &&
      options !== null &&
      typeof options === 'object' &&
      !options.socketPath &&
      !options.createConnection &&
      !request._header &&
      typeof request.path === 'string' &&
      request.path.startsWith('/');
    if (isUsual && goesThrough(options.host, options.port || 80)) {
      const host = options.host.includes(':') ? `[${options.host}]` : options.host;
      const port = Number(options.port || 80);
      request.path = `http://${host}${port === 80 ? '' : `:${port}`}${request.path}`;
      if (proof && !request.hasHeader('proxy-authorization')) request.setHeader('proxy-authorization', proof);
      options = { ...options, host: proxyHost, hostname: proxyHost, port: proxyPort };
    }
    return addRequest.call(this, request, options, ...rest);
  };

  // How undici, Node's own or one that the program brings, opens a connection.
  function connector(options, done) {
    const { hostname, protocol, servername, httpSocket } = options;
    const port = Number(options.port) || (protocol === 'https:' ? 443 : 80);
    const host = hostname.replace(/^\[|\]$/g, '');
    const finish = (socket, event) => {
      const failed = (error) => {
        socket.off(event, connected);
        done(error, null);
      };
      const connected = () => {
        socket.off('error', failed);
        done(null, socket);
      };
      socket.once(event, connected).once('error', failed);
      return socket;
    };
    const secure = (socket) =>
      finish(
        tls.connect({
          ...(socket ? { socket } : { host, port }),
          servername: servername || (net.isIP(host) ? '' : host),
          ALPNProtocols: ['http/1.1'],
        }),
        'secureConnect',
      );
    if (httpSocket) return secure(httpSocket);
    if (!goesThrough(host, port)) {
      return protocol === 'https:' ? secure() : finish(net.connect({ host, port }), 'connect');
    }
    tunnel(host, port, (error, socket) => {
      if (error) done(error, null);
      else if (protocol === 'https:') secure(socket);
      else done(null, socket);
    });
    return undefined;
  }

  // Replaces undici's default agent by one that takes the proxy. One that the program has set itself stays.
  const dispatchers = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map((name) => Symbol.for(name));
  const replacements = new Map();
  const made = new WeakSet();
  function adopt() {
    for (const key of dispatchers) {
      const current = globalThis[key];
      if (!current || current.constructor?.name !== 'Agent' || made.has(current)) continue;
      try {
        const replacement = replacements.get(current) || new current.constructor({ connect: connector });
        replacements.set(current, replacement);
        made.add(replacement);
        globalThis[key] = replacement;
      } catch {
        // An undici that is made otherwise: it stays as it is.
      }
    }
  }

  // Node's own undici is loaded by the first use of one of its names.
  const fetch = globalThis.fetch;
  if (typeof fetch === 'function') {
    const through = {
      fetch(input, init = undefined) {
        void globalThis.Response;
        adopt();
        return fetch.call(this, input, init);
      },
    };
    globalThis.fetch = through.fetch;
  }
  for (const name of ['WebSocket', 'EventSource']) {
    const lazy = Object.getOwnPropertyDescriptor(globalThis, name);
    if (!lazy || !lazy.configurable || !lazy.get) continue;
    const get = () => {
      const value = lazy.get.call(globalThis);
      adopt();
      return value;
    };
    Object.defineProperty(globalThis, name, { ...lazy, get });
  }

  // One that the program brings, when it is loaded.
  const { Module } = require('module');
  const load = Module._load;
  Module._load = function (request, ...rest) {
    const exports = load.call(this, request, ...rest);
    if (request === 'undici' || (typeof request === 'string' && /[\\/]undici[\\/]index\.js$/.test(request))) adopt();
    return exports;
  };
})();
