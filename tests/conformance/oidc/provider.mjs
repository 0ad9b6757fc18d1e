// An OpenID provider on loopback that gives machines their access tokens: `node provider.mjs <port> <folder of node_modules>`.
// `POST /rotate` puts a new signing key before those that it has, as a provider does that rotates.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, folder] = process.argv.slice(2);
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

function provider() {
  return new Provider(issuer, {
    jwks: { keys: [...keys] },
    clients: [
      {
        client_id: "night-batch",
        client_secret: "a-secret-of-this-test",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
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
}

newKey();
let current = provider().callback();

createServer((request, response) => {
  if (request.method === "POST" && request.url === "/rotate") {
    newKey();
    current = provider().callback();
    response.writeHead(204).end();
  } else {
    current(request, response);
  }
}).listen(Number(port), "127.0.0.1");
