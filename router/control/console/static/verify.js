// Checks a Lockgate evidence bundle in the browser, or under node, with WebCrypto and nothing else. The second implementation of what
// ../lockgate_verify does: the same ten steps, ids, statuses and sentences; ../vectors hold both to them. Sends nothing anywhere.
//
// A classic script and no ES module, so that the page also works when its file is opened from a disk, where browsers refuse modules.

"use strict";

globalThis.lockgateVerify = (() => {
  const FORMAT = "lockgate.bundle.v1";
  const MAX_BUNDLE = 16 * 2 ** 20, MAX_NOTE = 2 ** 20, MAX_POLICY = 65536, MAX_LEAF = 65535;
  const MAX_DEPTH = 64, MAX_SIGNATURES = 100, LAST_SECOND = 253402300799n;
  const LOG = 1, WITNESS = 4, NONE = "none";
  const STEPS = ["format", "leaves", "inclusion", "rotations", "signature", "witnesses", "consistency", "opened fields", "erasures",
    "decision"];
  const NAME = /^[!-~]{1,200}$/, ORIGIN = /^[!-*,-~]{1,200}$/, NUMBER = /^(?:0|[1-9][0-9]{0,15})$/;
  const SCHEMA = /^lockgate\.[a-z_]{1,64}\.v1$/;
  const SPACE_OR_PLUS = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000+]/;
  const CONTROL = /[\x00-\x09\x0b-\x1f]/, OTHER_CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/, SURROGATE = /[\ud800-\udfff]/u;
  const PROOF = "c2sp.org/tlog-proof@v1\n";
  const encoder = new TextEncoder();
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** What does not hold: `step` counts from 1; 0 is a mistake in what was given beside the bundle. */
  class Refusal extends Error {
    constructor(step, id, sentence) {
      super(sentence);
      this.step = step;
      this.id = id;
      this.status = step ? 10 + step : 2;
    }
  }

  /** A form that is not kept; always turned into a Refusal. */
  class Malformed extends Error {}

  function must(condition) {
    if (!condition) throw new Malformed();
  }

  /** Runs `parse`; a Malformed becomes `refusal`. */
  function or(refusal, parse) {
    try {
      return parse();
    } catch (error) {
      throw error instanceof Malformed ? refusal() : error;
    }
  }

  // JSON without its ambiguities. Objects become Maps, so that no name means anything to the language.

  function decoded(raw) {
    try {
      return utf8.decode(raw);
    } catch {
      throw new Malformed();
    }
  }

  function unquoted(literal) {
    try {
      return JSON.parse(literal);
    } catch {
      throw new Malformed();
    }
  }

  function parseJson(raw) {
    const text = decoded(raw);
    const integer = /-?(?:0|[1-9][0-9]*)/y, space = /[ \t\n\r]*/y;
    const words = { t: ["true", true], f: ["false", false], n: ["null", null] };
    let at = 0;

    function skip() {
      space.lastIndex = at;
      space.exec(text);
      at = space.lastIndex;
    }

    function take(pattern) {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      must(found);
      at = pattern.lastIndex;
      return found[0];
    }

    /** Its end is looked for without a pattern, which could take more room than there is for a long one. */
    function takeString() {
      must(text[at] === '"');
      let end = at;
      for (let escapes = 1; escapes % 2;) {
        end = text.indexOf('"', end + 1);
        must(end > 0);
        for (escapes = 0; text[end - 1 - escapes] === "\\"; escapes += 1);
      }
      const value = unquoted(text.slice(at, end + 1));
      must(!SURROGATE.test(value));
      at = end + 1;
      return value;
    }

    function takeNumber() {
      const value = Number(take(integer));
      must(Number.isSafeInteger(value) && !/[.eE0-9]/.test(text[at] ?? ""));
      return value;
    }

    /** What stands between brackets, one after another. */
    function takeAll(close, one) {
      at += 1;
      skip();
      if (text[at] === close) {
        at += 1;
        return;
      }
      for (;;) {
        skip();
        one();
        skip();
        const next = text[at];
        at += 1;
        if (next === close) return;
        must(next === ",");
      }
    }

    function takeValue(depth) {
      const first = text[at];
      if (first === '"') return takeString();
      if (first === "{" || first === "[") {
        must(depth < MAX_DEPTH);
        return first === "{" ? takeObject(depth + 1) : takeList(depth + 1);
      }
      const [word, value] = Object.hasOwn(words, first ?? "") ? words[first] : ["", null];
      if (word && text.startsWith(word, at)) {
        at += word.length;
        return value;
      }
      return takeNumber();
    }

    function takeObject(depth) {
      const made = new Map();
      takeAll("}", () => {
        const name = takeString();
        skip();
        must(text[at] === ":" && !made.has(name));
        at += 1;
        skip();
        made.set(name, takeValue(depth));
      });
      return made;
    }

    function takeList(depth) {
      const made = [];
      takeAll("]", () => made.push(takeValue(depth)));
      return made;
    }

    skip();
    const value = takeValue(0);
    skip();
    must(at === text.length);
    return value;
  }

  /** RFC 8785 of what a leaf may hold; its keys are ASCII. */
  function canonical(value) {
    if (value instanceof Map) {
      const names = [...value.keys()].sort();
      must(names.every((name) => /^[\x00-\x7f]*$/.test(name)));
      return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value.get(name))}`).join(",")}}`;
    }
    if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
    return typeof value === "string" ? JSON.stringify(value) : String(value);
  }

  // Bytes.

  /** The one spelling that encoding would give; `atob` alone would take others. */
  function unbase64(text, length) {
    let binary;
    try {
      binary = atob(text);
    } catch {
      throw new Malformed();
    }
    must(btoa(binary) === text && (length === undefined || binary.length === length));
    return fromLatin1(binary);
  }

  function latin1(raw) {
    let text = "";
    for (const byte of raw) text += String.fromCharCode(byte);
    return text;
  }

  function fromLatin1(text) {
    const raw = new Uint8Array(text.length);
    for (let at = 0; at < raw.length; at += 1) raw[at] = text.charCodeAt(at);
    return raw;
  }

  const hex = (raw) => [...raw].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const same = (one, other) => one.length === other.length && one.every((byte, place) => byte === other[place]);

  function joined(...parts) {
    const made = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
    let at = 0;
    for (const part of parts) {
      made.set(part, at);
      at += part.length;
    }
    return made;
  }

  async function sha256(...parts) {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
  }

  function number(text) {
    must(NUMBER.test(text) && Number(text) <= Number.MAX_SAFE_INTEGER);
    return Number(text);
  }

  // C2SP texts: keys, notes, checkpoints, cosignatures, proofs.

  function keyName(text) {
    must(text && !SPACE_OR_PLUS.test(text) && !CONTROL.test(text));
    return text;
  }

  async function parseKey(text, kind) {
    const first = text.indexOf("+"), second = text.indexOf("+", first + 1);
    must(first > 0 && second > 0);
    const name = keyName(text.slice(0, first)), raw = unbase64(text.slice(second + 1), 33);
    const id = (await sha256(encoder.encode(`${name}\n`), raw)).slice(0, 4);
    must(raw[0] === kind && hex(id) === text.slice(first + 1, second));
    return { name, id, public: raw.slice(1), text: `${name}+${hex(id)}` };
  }

  const sameKey = (one, other) => one.text === other.text && same(one.public, other.public);

  async function isSigned(key, message, signature) {
    const imported = await crypto.subtle.importKey("raw", key.public, { name: "Ed25519" }, false, ["verify"]).catch((error) => {
      if (error.name === "NotSupportedError") throw error;
      return null;
    });
    return imported !== null && signature.length === 64 && crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
  }

  function parseSignature(line) {
    const [mark, name, ...rest] = line.split(" ");
    const raw = unbase64(rest.join(" "));
    must(mark === "—" && raw.length >= 5);
    return { name: keyName(name), id: raw.slice(0, 4), raw: raw.slice(4) };
  }

  function parseCheckpoint(note) {
    const end = note.lastIndexOf("\n\n"), text = note.slice(0, Math.max(end, 0)), lines = note.slice(end + 2);
    must(end >= 0 && lines.endsWith("\n") && !CONTROL.test(note));
    const signatures = lines.slice(0, -1).split("\n"), said = text.split("\n");
    must(signatures.length <= MAX_SIGNATURES && said.length >= 3 && !said.includes("") && ORIGIN.test(said[0]));
    return {
      note, text: `${text}\n`, origin: said[0], size: number(said[1]), root: unbase64(said[2], 32),
      signatures: signatures.map(parseSignature),
    };
  }

  const claims = (checkpoint, key) => checkpoint.signatures.filter((one) => one.name === key.name && same(one.id, key.id));

  /** null: it does not claim to be by that key; else whether every signature that does is right. */
  async function signedBy(checkpoint, key) {
    const claimed = claims(checkpoint, key);
    for (const one of claimed) {
      if (!(await isSigned(key, encoder.encode(checkpoint.text), one.raw))) return false;
    }
    return claimed.length ? true : null;
  }

  /** When this witness saw it, in Unix seconds; null if it does not say so. */
  async function cosignedBy(checkpoint, key) {
    let latest = null;
    for (const { raw } of claims(checkpoint, key)) {
      must(raw.length === 72);
      const at = new DataView(raw.buffer, raw.byteOffset, 8).getBigUint64(0);
      const message = encoder.encode(`cosignature/v1\ntime ${at}\n${checkpoint.text}`);
      must(at > 0n && at <= LAST_SECOND && (await isSigned(key, message, raw.slice(8))));
      latest = Math.max(latest ?? 0, Number(at));
    }
    return latest;
  }

  function parseProof(text) {
    const end = text.indexOf("\n\n"), head = text.slice(0, Math.max(end, 0));
    must(end >= 0 && head.startsWith(`${PROOF}index `));
    const [index, ...hashes] = head.slice(`${PROOF}index `.length).split("\n");
    return { index: number(index), hashes: hashes.map((each) => unbase64(each, 32)), note: text.slice(end + 2) };
  }

  // The tree of RFC 6962, as RFC 9162 sections 2.1.3.2 and 2.1.4.2 check it. BigInt, for bits beyond the 32nd.

  const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

  async function included(leaf, index, size, path, root) {
    if (index >= size) return false;
    let node = BigInt(index), last = BigInt(size) - 1n, hashed = await sha256(Uint8Array.of(0), leaf);
    for (const step of path) {
      if (last === 0n) return false;
      if (node & 1n || node === last) {
        hashed = await nodeHash(step, hashed);
        while (!(node & 1n) && node) {
          node >>= 1n;
          last >>= 1n;
        }
      } else {
        hashed = await nodeHash(hashed, step);
      }
      node >>= 1n;
      last >>= 1n;
    }
    return last === 0n && same(hashed, root);
  }

  async function consistent(oldSize, newSize, oldRoot, newRoot, path) {
    if (!(oldSize > 0 && oldSize < newSize) || !path.length) return false;
    const old = BigInt(oldSize), steps = old & (old - 1n) ? [...path] : [oldRoot, ...path];
    let node = old - 1n, last = BigInt(newSize) - 1n;
    while (node & 1n) {
      node >>= 1n;
      last >>= 1n;
    }
    let first = steps[0], second = steps[0];
    for (const step of steps.slice(1)) {
      if (last === 0n) return false;
      if (node & 1n || node === last) {
        first = await nodeHash(step, first);
        second = await nodeHash(step, second);
        while (!(node & 1n) && node) {
          node >>= 1n;
          last >>= 1n;
        }
      } else {
        second = await nodeHash(second, step);
      }
      node >>= 1n;
      last >>= 1n;
    }
    return last === 0n && same(first, oldRoot) && same(second, newRoot);
  }

  // Witness policies: C2SP tlog-policy, octet by octet.

  async function parsePolicy(raw) {
    const malformed = (place) => new Refusal(0, "policy_malformed",
      `The policy is not one that this verifier can hold to: see ${place ? `line ${place}` : "the file"}.`);
    if (raw.length > MAX_POLICY) throw malformed(0);
    const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: "" }, members = new Set();
    for (const [place, line] of latin1(raw).split("\n").entries()) {
      const words = line.split(/[ \t]+/).filter(Boolean);
      if (OTHER_CONTROL.test(line)) throw malformed(place + 1);
      if (!words.length || words[0].startsWith("#")) continue;
      try {
        await takeLine(policy, members, words[0], words.slice(1));
      } catch (error) {
        throw error instanceof Malformed ? malformed(place + 1) : error;
      }
    }
    if (!policy.quorum) throw new Refusal(0, "policy_malformed", "The policy has no quorum line, so nothing would satisfy it.");
    return policy;
  }

  async function takeLine(policy, members, word, rest) {
    const key = (text, kind) => parseKey(decoded(fromLatin1(text)), kind);
    const fresh = (made, others) => {
      must(![...others].some((other) => same(made.public, other.public)));
      return made;
    };
    const unused = (name) => {
      must(name !== NONE && !policy.witnesses.has(name) && !policy.groups.has(name));
      return name;
    };
    const defined = (name) => {
      must(policy.witnesses.has(name) || policy.groups.has(name));
      return name;
    };
    if (word === "log" && (rest.length === 1 || rest.length === 2)) {
      policy.logs.push(fresh(await key(rest[0], LOG), policy.logs));
    } else if (word === "witness" && (rest.length === 2 || rest.length === 3)) {
      policy.witnesses.set(unused(rest[0]), fresh(await key(rest[1], WITNESS), policy.witnesses.values()));
    } else if (word === "group" && rest.length >= 3) {
      const [name, least, ...names] = rest;
      unused(name);
      for (const member of names) {
        must(!members.has(defined(member)));
        members.add(member);
      }
      must(["any", "all"].includes(least) || /^[1-9][0-9]{0,3}$/.test(least));
      const count = least === "any" ? 1 : least === "all" ? names.length : Number(least);
      must(count <= names.length);
      policy.groups.set(name, [count, names]);
    } else if (word === "quorum" && rest.length === 1 && !policy.quorum) {
      policy.quorum = rest[0] === NONE ? NONE : defined(rest[0]);
    } else {
      throw new Malformed();
    }
  }

  function quorumMet(policy, cosigned) {
    const holding = new Set(cosigned);
    for (const [name, [least, names]] of policy.groups) {
      if (names.filter((member) => holding.has(member)).length >= least) holding.add(name);
    }
    return policy.quorum === NONE || holding.has(policy.quorum);
  }

  // Step 1: the bundle's form.

  function fields(value, wanted, may = []) {
    must(value instanceof Map && wanted.every((name) => value.has(name)));
    must([...value.keys()].every((name) => wanted.includes(name) || may.includes(name)));
    return Object.fromEntries([...wanted, ...may].map((name) => [name, value.get(name)]));
  }

  function text(value) {
    must(typeof value === "string");
    return value;
  }

  function name(value) {
    must(typeof value === "string" && NAME.test(value));
    return value;
  }

  function count(value) {
    must(typeof value === "number" && value >= 0);
    return value + 0;
  }

  function list(value) {
    must(Array.isArray(value));
    return value;
  }

  function parseBundle(raw) {
    if (raw.length > MAX_BUNDLE) throw new Refusal(1, "bundle_too_large", `The bundle is larger than ${MAX_BUNDLE} bytes.`);
    const document = or(() => new Refusal(1, "bundle_not_json",
      "The bundle is not JSON without duplicate keys, fractions, lone surrogates, large integers and deep nesting."), () => parseJson(raw));
    if (document instanceof Map && document.get("format") !== FORMAT) {
      throw new Refusal(1, "bundle_format_unknown", `This is not a bundle of the format ${FORMAT}.`);
    }
    return or(() => new Refusal(1, "bundle_malformed", `The bundle has not the form of ${FORMAT}.`), () => bundleOf(document));
  }

  function bundleOf(document) {
    const parts = fields(document, ["format", "decision", "checkpoint", "records", "erasures", "rotations", "consistency"]);
    const made = {
      records: list(parts.records).map((each) => recordOf(each, ["opened", "erased"])),
      erasures: list(parts.erasures).map((each) => recordOf(each)),
      rotations: list(parts.rotations).map(rotationOf),
    };
    must(made.records.length);
    for (const part of Object.values(made)) {
      must(part.every((record, place) => place === 0 || part[place - 1].index < record.index));
    }
    const consistency = parts.consistency === null ? null : consistencyOf(parts.consistency);
    return { ...made, decision: name(parts.decision), checkpoint: parseCheckpoint(text(parts.checkpoint)), consistency };
  }

  function recordOf(value, may = []) {
    const parts = fields(value, ["index", "leaf", "proof"], may), leaf = unbase64(text(parts.leaf));
    const opened = parts.opened === undefined ? new Map() : parts.opened;
    must(opened instanceof Map && [...opened.keys()].every((each) => NAME.test(each)) && leaf.length <= MAX_LEAF);
    return {
      index: count(parts.index), leaf, proof: parseProof(text(parts.proof)),
      opened: [...opened].map(([field, each]) => openedOf(field, each)), erased: parts.erased === undefined ? null : erasedOf(parts.erased),
    };
  }

  function openedOf(field, value) {
    const parts = fields(value, ["salt", "value"]);
    return { field, salt: unbase64(text(parts.salt), 32), value: text(parts.value) };
  }

  function erasedOf(value) {
    const parts = fields(value, ["key_id", "sealed", "erasure"]);
    const erasure = parts.erasure === null ? null : count(parts.erasure);
    return { keyId: name(parts.key_id), sealed: unbase64(text(parts.sealed)), erasure };
  }

  function rotationOf(value) {
    const parts = fields(value, ["index", "leaf", "proof", "handover"]);
    const record = recordOf(new Map(Object.entries(parts).filter(([each]) => each !== "handover")));
    if (parts.handover === null) return { ...record, handover: null };
    const proof = parseProof(text(parts.handover));
    return { ...record, handover: { proof, checkpoint: parseCheckpoint(proof.note) } };
  }

  function consistencyOf(value) {
    const parts = fields(value, ["old", "new", "hashes"]);
    return { old: count(parts.old), new: count(parts.new), hashes: list(parts.hashes).map((each) => unbase64(text(each), 32)) };
  }

  // Step 2: leaves.

  function leafOf(record) {
    const refusal = () => new Refusal(2, "leaf_not_canonical", `The leaf of record ${record.index} is not canonical JSON.`);
    const leaf = or(refusal, () => {
      const value = parseJson(record.leaf);
      must(value instanceof Map && same(encoder.encode(canonical(value)), record.leaf));
      return value;
    });
    if (typeof leaf.get("schema") !== "string" || !SCHEMA.test(leaf.get("schema"))) {
      throw new Refusal(2, "leaf_schema_unknown", `The leaf of record ${record.index} has a schema that this verifier does not know.`);
    }
    return leaf;
  }

  // Step 3: inclusion.

  async function checkInclusion(record, checkpoint) {
    const { proof } = record;
    if (proof.index !== record.index || proof.note !== checkpoint.note) {
      throw new Refusal(3, "proof_other", `The proof of record ${record.index} is of another record or checkpoint.`);
    }
    if (!(await included(record.leaf, record.index, checkpoint.size, proof.hashes, checkpoint.root))) {
      throw new Refusal(3, "inclusion_wrong", `Record ${record.index} is not in the tree that the checkpoint describes.`);
    }
  }

  // Step 4: rotations. A reign is a key and the sizes of the tree at which it may have signed. The hand-over, of index + 1 records, is the
  // new key's first: what the old one signs of that size by itself is no hand-over.

  async function reignsOf(bundle, leaves, keys) {
    const found = keys.map((key) => ({ key, since: 0, until: null, vouched: true })), changes = [];
    for (const [place, rotation] of bundle.rotations.entries()) changes.push(await changeBy(rotation, leaves[place], bundle.checkpoint));
    for (const { index, oldId, older, newer } of changes) {
      // A name and id are four bytes of a hash, which somebody may make a second key for: they can end a reign, but hand over nothing.
      const ends = (key) => (older ? sameKey(key, older) : key.text === oldId);
      const reigning = found.find(({ key, until }) => until === null && ends(key));
      if (reigning) reigning.until = index;
      const following = found.find(({ key, until }) => sameKey(key, newer) && until === null);
      if (following) following.since = index + 1;
      else if (reigning) found.push({ key: newer, since: index + 1, until: null, vouched: reigning.vouched && older !== null });
    }
    for (const [place, { index, older, newer }] of [...changes.entries()].reverse()) {
      const known = (key) => found.some((reign) => reign.vouched && sameKey(reign.key, key));
      if (!older || !known(newer) || known(older)) continue;
      const before = changes.slice(0, place).reverse().find((one) => sameKey(one.newer, older));
      found.push({ key: older, since: before ? before.index + 1 : 0, until: index, vouched: true });
    }
    return found;
  }

  async function changeBy(rotation, leaf, checkpoint) {
    const { index, handover } = rotation, details = leaf.get("details");
    const refusal = () => new Refusal(4, "rotation_malformed", `Record ${index} is no rotation from one key to another.`);
    let older = null, newer, oldId;
    try {
      must(leaf.get("schema") === "lockgate.system.v1" && leaf.get("event") === "key_rotated" && details instanceof Map);
      oldId = text(details.get("old")).split("+").slice(0, 2).join("+");
      newer = await parseKey(text(details.get("new")), LOG);
      if (handover) older = await parseKey(text(details.get("old")), LOG);
    } catch (error) {
      throw error instanceof Malformed ? refusal() : error;
    }
    const names = [oldId.split("+")[0], newer.name];
    if ((older && sameKey(older, newer)) || names.some((each) => each !== checkpoint.origin)) throw refusal();
    if (handover) await checkHandover(rotation, handover, checkpoint, [older, newer]);
    return { index, oldId, older, newer };
  }

  async function checkHandover(record, { proof, checkpoint: handover }, checkpoint, keys) {
    const ends = handover.origin === checkpoint.origin && handover.size === record.index + 1 && proof.index === record.index;
    let vouched = ends && (await included(record.leaf, record.index, handover.size, proof.hashes, handover.root));
    for (const key of keys) vouched = vouched && (await signedBy(handover, key));
    if (!vouched) throw new Refusal(4, "handover_wrong", `The old key does not hand over to the new one by record ${record.index}.`);
  }

  // Steps 5 and 7: whose signature counts.

  async function signerOf(step, prefix, checkpoint, reigns) {
    const which = prefix ? "outside checkpoint" : "checkpoint", signing = [], notVouched = [];
    for (const reign of reigns.filter(({ key }) => key.name === checkpoint.origin)) {
      const right = await signedBy(checkpoint, reign.key);
      if (right === false && reign.vouched) {
        throw new Refusal(step, `${prefix}signature_wrong`, `The ${which}'s signature by ${checkpoint.origin} is wrong.`);
      }
      if (right) (reign.vouched ? signing : notVouched).push(reign);
    }
    if (!signing.length && notVouched.length) {
      const sentence = `The ${which} is signed by a key that record ${notVouched[0].since - 1} names, but a key before it was lost and `
        + "vouches for none.";
      throw new Refusal(step, `${prefix}key_not_vouched`, sentence);
    }
    if (!signing.length) {
      const sentence = `The ${which} of ${checkpoint.origin} carries no signature by a key that is trusted.`;
      throw new Refusal(step, `${prefix}signature_missing`, sentence);
    }
    const inForce = signing.filter(({ since, until }) => since <= checkpoint.size && (until === null || checkpoint.size <= until));
    if (!inForce.length) {
      const sentence = `The ${which} is signed by a key that was not in force at ${checkpoint.size} records.`;
      throw new Refusal(step, `${prefix}key_not_in_force`, sentence);
    }
    return inForce.reduce((one, other) => (other.since > one.since ? other : one)).key;
  }

  // Step 6: witnesses.

  const shown = (octets) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(fromLatin1(octets));

  async function witnessedBy(checkpoint, policy) {
    const times = new Map();
    for (const [witness, key] of policy.witnesses) {
      try {
        const at = await cosignedBy(checkpoint, key);
        if (at !== null) times.set(witness, at);
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        throw new Refusal(6, "cosignature_wrong", `The cosignature by the witness ${shown(witness)} is wrong.`);
      }
    }
    if (!quorumMet(policy, times.keys())) {
      const names = [...times.keys()].map(shown).join(" and ") || "nobody";
      throw new Refusal(6, "quorum_missing", `The checkpoint is cosigned by ${names}, which is not the quorum that the policy asks for.`);
    }
    return [...times].map(([witness, at]) => [shown(witness), at]);
  }

  // Step 7: the outside checkpoint, and hand-overs of as many records.

  async function checkOutside(bundle, outside, reigns) {
    const { checkpoint, consistency: path } = bundle;
    if (outside.origin !== checkpoint.origin) {
      throw new Refusal(7, "outside_other_origin", `The outside checkpoint is of ${outside.origin}, the bundle of ${checkpoint.origin}.`);
    }
    await signerOf(7, "outside_", outside, reigns);
    if (outside.size === checkpoint.size) {
      checkSame(outside, checkpoint);
      return;
    }
    const [older, newer] = outside.size < checkpoint.size ? [outside, checkpoint] : [checkpoint, outside];
    if (!path || path.old !== older.size || path.new !== newer.size) {
      throw new Refusal(7, "consistency_missing", `The bundle has no proof that leads from ${older.size} records to ${newer.size}.`);
    }
    if (!(await consistent(older.size, newer.size, older.root, newer.root, path.hashes))) {
      throw new Refusal(7, "consistency_wrong", `The history of ${newer.size} records does not continue the one of ${older.size}.`);
    }
  }

  // Whoever signed them: of one size there is one tree.
  function checkHandovers(bundle, outside) {
    const handovers = bundle.rotations.filter(({ handover }) => handover).map(({ handover }) => handover.checkpoint);
    for (const checkpoint of outside ? [bundle.checkpoint, outside] : [bundle.checkpoint]) {
      for (const handover of handovers.filter(({ size }) => size === checkpoint.size)) checkSame(handover, checkpoint);
    }
  }

  function checkSame(one, other) {
    if (same(one.root, other.root)) return;
    throw new Refusal(7, "history_forked", `Two different histories of the first ${one.size} records were signed.`);
  }

  // Step 8: opened fields.

  async function checkOpened(record, leaf) {
    const commitments = leaf.get("commitments");
    for (const { field, salt, value } of record.opened) {
      const said = commitments instanceof Map ? commitments.get(field) : undefined;
      if (typeof said !== "string") {
        throw new Refusal(8, "commitment_missing", `Record ${record.index} commits to no field ${field}.`);
      }
      if (hex(await sha256(salt, encoder.encode(value))) !== said) {
        throw new Refusal(8, "commitment_wrong", `The field ${field} of record ${record.index} is not what was recorded.`);
      }
    }
  }

  // Step 9: erasures.

  async function checkErased({ index, erased }, leaf, erasures) {
    if (!erased) return;
    if (leaf.get("sealed") !== hex(await sha256(encoder.encode(erased.keyId), Uint8Array.of(0), erased.sealed))) {
      throw new Refusal(9, "sealed_wrong", `The sealed part of record ${index} is not the one that was recorded.`);
    }
    if (erased.erasure === null) return;
    const ordering = erasures.get(erased.erasure);
    if (!ordering) {
      throw new Refusal(9, "erasure_missing", `The bundle lacks record ${erased.erasure}, which is said to have erased record ${index}.`);
    }
    const details = ordering.get("details"), named = details instanceof Map ? details.get("key_id") : undefined;
    if (ordering.get("schema") !== "lockgate.system.v1" || ordering.get("event") !== "subject_erased" || named !== erased.keyId) {
      throw new Refusal(9, "erasure_wrong", `Record ${erased.erasure} is no erasure of what record ${index} was sealed under.`);
    }
  }

  // Step 10: the decision.

  function checkDecision(bundle, leaves) {
    for (const [place, leaf] of leaves.entries()) {
      if (leaf.get("id") !== bundle.decision) {
        throw new Refusal(10, "decision_other", `Record ${bundle.records[place].index} is not about decision ${bundle.decision}.`);
      }
    }
    if (!leaves.some((leaf) => leaf.get("schema") === "lockgate.decision.v1")) {
      throw new Refusal(10, "decision_missing", `No record of the bundle is the decision ${bundle.decision} itself.`);
    }
  }

  // What is given beside the bundle, and all steps.

  async function given(keys, policyRaw, checkpointRaw) {
    const policy = policyRaw === null ? null : await parsePolicy(policyRaw), trusted = [], logs = policy ? policy.logs : [];
    for (const each of keys) {
      try {
        trusted.push(await parseKey(each.trim(), LOG));
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        throw new Refusal(0, "key_malformed", "A key given is not an Ed25519 verifier key of the form name+keyid+base64.");
      }
    }
    const allowed = logs.length && trusted.length ? trusted.filter((key) => logs.some((log) => sameKey(key, log))) : trusted;
    if (trusted.length && !allowed.length) {
      throw new Refusal(0, "key_not_in_policy", "None of the keys given is one of the logs that the policy lists.");
    }
    if (!allowed.length && !logs.length) {
      throw new Refusal(0, "key_missing", "No public key of a ledger is given: without one any checkpoint would do.");
    }
    const refusal = () => new Refusal(0, "checkpoint_malformed", "The outside checkpoint is not a signed checkpoint.");
    const outside = checkpointRaw === null ? null : or(refusal, () => {
      must(checkpointRaw.length <= MAX_NOTE);
      return parseCheckpoint(decoded(checkpointRaw));
    });
    return { keys: allowed.length ? allowed : logs, policy, outside };
  }

  async function holdingOf(raw, brought) {
    const bundle = parseBundle(raw); // 1
    const { checkpoint, records, erasures, rotations } = bundle;
    const leaves = [...records, ...erasures, ...rotations].map(leafOf); // 2
    for (const record of [...records, ...erasures, ...rotations]) await checkInclusion(record, checkpoint); // 3
    const own = leaves.slice(0, records.length);
    const reigns = await reignsOf(bundle, leaves.slice(records.length + erasures.length), brought.keys); // 4
    const signer = await signerOf(5, "", checkpoint, reigns); // 5
    const witnessed = brought.policy ? await witnessedBy(checkpoint, brought.policy) : []; // 6
    if (brought.outside) await checkOutside(bundle, brought.outside, reigns); // 7
    checkHandovers(bundle, brought.outside); // 7
    for (const [place, record] of records.entries()) await checkOpened(record, own[place]); // 8
    const ordering = new Map(erasures.map((record, place) => [record.index, leaves[records.length + place]]));
    for (const [place, record] of records.entries()) await checkErased(record, own[place], ordering); // 9
    checkDecision(bundle, own); // 10
    return {
      decision: bundle.decision, checkpoint, signer, witnessed,
      records: records.map((record, place) => [record.index, own[place]]),
      handedOver: !brought.keys.some((key) => sameKey(key, signer)),
      policy: brought.policy,
      underQuorum: brought.policy !== null && brought.policy.quorum !== NONE,
      outside: brought.outside ? brought.outside.size : null,
      opened: records.flatMap((record) => record.opened.map(({ field, value }) => [record.index, field, value])),
      erased: records.filter(({ erased }) => erased).map(({ index, erased }) => [index, erased.erasure]),
    };
  }

  // What holds, in one sentence: word for word as ../lockgate_verify/sentence.py says it.

  const moment = (seconds) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
  const counted = (total) => `${total} record${total === 1 ? "" : "s"}`;

  function sentenceOf(holding) {
    const { records, checkpoint, opened, erased } = holding, total = records.length;
    const said = [
      `${counted(total)} of decision ${holding.decision} ${total === 1 ? "stands" : "stand"} in ${checkpoint.origin} as of its first `
        + `${checkpoint.size} records`,
      `signed by ${holding.signer.text}${holding.handedOver ? ", to which an older key handed over" : ""}`,
      witnessedPart(holding),
    ];
    if (holding.outside !== null) said.push(`consistent with the outside checkpoint of ${holding.outside} records`);
    if (opened.length) said.push(`${opened.length} personal field${opened.length === 1 ? "" : "s"} opened and as recorded`);
    if (erased.length) said.push(`${counted(erased.length)} with an erased personal part`);
    for (const [record, erasure] of erased.filter(([record, erasure]) => erasure !== null && erasure < record)) {
      said.push(`record ${record} sealed after record ${erasure} had said that its key was destroyed`);
    }
    return `${said.join(", ")}; not proven: ${unprovenOf(holding).join(", ")}.`;
  }

  function witnessedPart({ policy, witnessed, underQuorum }) {
    if (policy === null) return "with no policy to say who must have witnessed it";
    const seen = witnessed.map(([witness, at]) => `${witness} on ${moment(at)}`).join(" and ");
    if (underQuorum) return `witnessed by ${seen}`;
    return seen ? `witnessed by ${seen}, though the policy asks for nobody` : "with a policy that asks for no witness";
  }

  function unprovenOf({ records, outside, underQuorum, erased }) {
    const said = ["that the records are true", "that they are all there are of this decision"];
    said.push(underQuorum ? "how long before that they were written" : "when they were written");
    const exposed = records.map(([index]) => index).filter((index) => outside === null || index >= outside);
    if (!underQuorum) {
      said.push("that nobody was shown another history");
      if (exposed.length) {
        said.push(`that the holder of the signing key did not exchange record ${exposed[0]} or later ones before signing`);
      }
    }
    for (const [record, erasure] of erased) {
      if (erasure === null) said.push(`that the key of record ${record} was destroyed`);
    }
    if (erased.length) said.push("that no copy of a destroyed key was kept");
    return said;
  }

  const stepsOf = (state) => STEPS.map((step, place) => ({ number: place + 1, name: step, state: state(place + 1) }));

  /** `bundle`: bytes. `keys`: strings. `policy`, `checkpoint`: bytes or null. Never rejects for what it was given, only where WebCrypto
   *  lacks Ed25519. The answer has ok, status, id, sentence, steps, and what holds. */
  async function verify({ bundle, keys, policy = null, checkpoint = null }) {
    try {
      const brought = await given(keys, policy, checkpoint), holding = await holdingOf(bundle, brought);
      const skipped = new Set();
      if (!brought.policy) skipped.add(6);
      if (!brought.outside) skipped.add(7);
      if (!holding.opened.length) skipped.add(8);
      if (!holding.erased.length) skipped.add(9);
      return {
        ok: true, status: 0, id: "holds", sentence: sentenceOf(holding),
        steps: stepsOf((step) => (skipped.has(step) ? "nothing to check" : "holds")),
        records: holding.records.map(([index, leaf]) => ({ index, leaf })),
        opened: holding.opened.map(([record, field, value]) => ({ record, field, value })),
        notProven: unprovenOf(holding),
      };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const state = (step) => (step < error.step ? "holds" : step === error.step ? "fails" : "not reached");
      const { status, id, message } = error;
      return { ok: false, status, id, sentence: message, steps: stepsOf(state), records: [], opened: [], notProven: [] };
    }
  }

  /** Whether WebCrypto has what this needs: it is missing in old browsers, and on pages that came over plain HTTP. */
  async function able() {
    try {
      await crypto.subtle.importKey("raw", new Uint8Array(32), { name: "Ed25519" }, false, ["verify"]);
      return true;
    } catch (error) {
      return Boolean(globalThis.crypto?.subtle) && error.name !== "NotSupportedError";
    }
  }

  return { verify, able, canonical, STEPS };
})();
