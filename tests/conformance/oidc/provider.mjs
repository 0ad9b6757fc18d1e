// An OpenID provider on loopback: `node provider.mjs <port> <folder of node_modules> [<URL of Lockgate>]`.
// It gives machines their access tokens, and signs in people at Lockgate without asking them anything: `POST /person` with JSON says who
// comes next, `{}` that nobody does. `POST /rotate` puts a new signing key before those that it has, as a provider does that rotates.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, folder, lockgate] = process.argv.slice(2);
const entry = createRequire(`${folder}/`).resolve("oidc-provider");
const { Provider, errors } = await import(pathToFileURL(entry).href);
const issuer = `http://127.0.0.1:${port}`;

// What a client can ask a token for: by the `resource` of its request (RFC 8707).
const resources = {
  "https://gateway.example": { audience: "lockgate", accessTokenTTL: 600 },
  "https://brief.example": { audience: "lockgate", accessTokenTTL: 2 },
  "https://other.example": { audience: "billing", accessTokenTTL: 600 },
};

const keys = [];

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" });
}

let person = {};
const people = new Map();

function client(id, more) {
  return {
    client_id: id,
    grant_types: ["authorization_code"],
    response_types: ["code"],
    redirect_uris: [`${lockgate}/console/sign-in/oidc/callback`],
    post_logout_redirect_uris: [`${lockgate}/console/sign-in`],
    backchannel_logout_uri: `${lockgate}/console/sign-in/oidc/logout`,
    backchannel_logout_session_required: true,
    require_auth_time: true,
    ...more,
  };
}

const forPeople = lockgate && [
  client("console", { client_secret: "a secret: of+this/test%" }),
  client("console-with-key", {
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "ES256",
    jwks: { keys: [JSON.parse(process.env.CLIENT_JWK ?? "{}")] },
  }),
];

async function signIn(made, request, response) {
  const { prompt } = await made.interactionDetails(request, response);
  const result = person.sub && prompt.name === "login" ? { login: { accountId: person.sub, amr: person.amr } } : { error: "access_denied" };
  await made.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function provider() {
  const made = new Provider(issuer, {
    jwks: { keys: [...keys] },
    claims: { openid: ["sub", "groups", "tenant", "amr"] },
    conformIdTokenClaims: false,
    fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own refuses to speak to this machine
    cookies: { keys: ["a key of this test"] },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => people.has(id) && { accountId: id, claims: () => people.get(id) },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope("openid");
      await grant.save();
      return grant;
    },
    clients: [
      ...(forPeople || []),
      {
        client_id: "night-batch",
        client_secret: "a-secret-of-this-test",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "https://gateway.example",
        getResourceServerInfo: (_, resource) => {
          if (!(resource in resources)) throw new errors.InvalidTarget();
          return { ...resources[resource], scope: "", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
        },
      },
    },
    extraTokenClaims: () => ({ roles: ["employee"], type: "service" }),
  });
  made.on("backchannel.error", (_, error) => console.error("back-channel:", error));
  return made;
}

newKey();
let made = provider();
let current = made.callback();

createServer(async (request, response) => {
  if (request.method === "POST" && request.url === "/rotate") {
    newKey();
    made = provider();
    current = made.callback();
    response.writeHead(204).end();
  } else if (request.method === "POST" && request.url === "/person") {
    const parts = [];
    for await (const part of request) parts.push(part);
    person = JSON.parse(Buffer.concat(parts).toString());
    if (person.sub) people.set(person.sub, person);
    response.writeHead(204).end();
  } else if (request.url.startsWith("/interaction/")) {
    await signIn(made, request, response);
  } else {
    current(request, response);
  }
}).listen(Number(port), "127.0.0.1");
