/** The kinds of hostile requests that can be framed as HTTP. Each takes one operation and spoils a proper call of it. */

import type { World } from '../../../support/world.ts';
import { type Case, properDraft, type Scene, signed, withHeader } from './case.ts';
import { credentials } from './credentials.ts';
import type { Draft } from './draft.ts';
import { objectOf, type Schema } from './operations.ts';
import { Random } from './random.ts';
import { addressPart, type Snippet, snippets } from './values.ts';

type Family = (scene: Scene) => Omit<Case, 'family' | 'operation'> | undefined;

/** Own rows and a request as it should be: what the others start from must get through. */
const proper: Family = (scene) => signed(scene, properDraft(scene, scene.self.world));

/** One place of the body, the query or the path holds something that nobody described. */
function spoiled(snippet: (random: Random) => Snippet): Family {
  return (scene) => {
    const draft = properDraft(scene, scene.self.world, 0.15);
    const places = [
      ...(draft.body ? ['body', 'body', 'body'] : []),
      ...(scene.operation.parameters.some((one) => one.in === 'query') ? ['query'] : []),
      ...(scene.operation.path.includes('{') ? ['path', 'path', 'path'] : []),
      'header',
    ];
    return signed(scene, spoil(scene, draft, scene.random.pick(places), snippet));
  };
}

function spoil(scene: Scene, draft: Draft, place: string, snippet: (random: Random) => Snippet): Draft {
  const { operation, random } = scene;
  if (place === 'body') return { ...draft, body: spoiledBody(scene, draft, snippet(random)) };
  if (place === 'query') {
    const { name } = random.pick(operation.parameters.filter((one) => one.in === 'query'));
    return {
      ...draft,
      query: [...draft.query.filter((part) => !part.startsWith(`${name}=`)), `${name}=${inAddress(random, snippet)}`],
    };
  }
  if (place === 'path') {
    const names = [...operation.path.matchAll(/\{\w+\}/g)].map(([name]) => name);
    const chosen = random.pick(names);
    const parts = operation.path.split('/');
    const path = draft.path.split('/').map((part, at) => (parts[at] === chosen ? inAddress(random, snippet) : part));
    return { ...draft, path: path.join('/') };
  }
  const named = operation.parameters.filter((one) => one.in === 'header').map(({ name }) => name);
  const name = random.pick([
    ...named,
    'x-request-id',
    'user-agent',
    'accept',
    'accept-language',
    'cookie',
    'referer',
    'origin',
  ]);
  return withHeader(draft, name, headerText(snippet(random)));
}

function inAddress(random: Random, snippet: (random: Random) => Snippet): string {
  if (random.chance(0.6)) return addressPart(random);
  return encodeURIComponent(snippet(random).slice(0, random.chance(0.9) ? 500 : 9_000));
}

/** What a header can hold: the rest is for raw requests, since it would break the framing. */
function headerText(snippet: Snippet): string {
  return Array.from(snippet.slice(0, 4_000), (c) => (c < ' ' || c === '\x7f' ? ' ' : c)).join('');
}

const placeholder = '@@here@@';

function spoiledBody({ random, operation, api }: Scene, draft: Draft, snippet: Snippet): Buffer {
  const style = random.below(10);
  if (style === 0) return Buffer.from(snippet, 'latin1');
  const value: unknown = JSON.parse(Buffer.from(draft.body ?? []).toString('utf8'));
  const known = Object.keys(objectOf(api.resolve(operation.body).properties));
  const fields = [...new Set([...Object.keys(objectOf(value)), ...known])];
  const field = fields.length > 0 ? random.pick(fields) : 'k';
  const old = objectOf(value)[field];
  const deeper = style > 6 && typeof old === 'object' && old !== null;
  const inner = Array.isArray(old) ? [placeholder] : { ...objectOf(old), k: placeholder };
  const text = JSON.stringify({ ...objectOf(value), [field]: deeper ? inner : placeholder });
  const bytes = Buffer.from(text)
    .toString('latin1')
    .replace(`"${placeholder}"`, () => snippet);
  // The same name twice: the last one is what JSON.parse takes.
  if (style === 1) return Buffer.from(`${bytes.slice(0, -1)},${JSON.stringify(field)}:${snippet}}`, 'latin1');
  if (style === 2) return Buffer.from(bytes.slice(0, random.below(bytes.length)), 'latin1');
  return Buffer.from(bytes, 'latin1');
}

/** Ids of a victim's against ids of nobody's: the same answer to both. */
const ids: Family = (scene) => {
  const { random, victims } = scene;
  const { world } = random.pick(victims);
  const seed = random.next();
  const nobodys = Object.fromEntries(Object.keys(world).map((key) => [key, random.uuid()])) as World;
  const build = (of: World) => {
    const same = { ...scene, random: new Random(seed) };
    const { draft } = signed(
      { ...same, operation: { ...scene.operation, access: 'write' } },
      properDraft(same, of, 0.6),
    );
    return draft;
  };
  const draft = build(world);
  const text = `${draft.path}?${draft.query.join('&')} ${Buffer.from(draft.body ?? []).toString('utf8')}`;
  const named = Object.values(world).some((id) => text.includes(id));
  return { draft, caller: 'user', ...(named ? { twin: build(nobodys) } : {}) };
};

const assignable = ['user_id', 'userId', 'owner', 'owner_id', 'id', 'version', 'created_at', 'updated_at', 'roles', 'role', 'status', 'scopes', 'email', 'password_hash', 'token_hash', 'tokens_valid_after', 'is_admin', 'admin', 'tenant_id', 'user', '$where', 'prototype', 'system']; // biome-ignore format: a list

/** Members that only the server sets. Where the contract closes an object, an unknown member must be refused. */
const assignment: Family = (scene) => {
  const { random, operation, api, victims, self } = scene;
  if (!operation.body) return undefined;
  const victim = random.pick(victims);
  const draft = properDraft(scene, self.world, 0.3);
  const schema = api.resolve(operation.body);
  const values = [victim.id, victim.world.tasks, ['user', 'admin'], 'admin', 99, true, { id: victim.id }, null];
  const extra = Object.fromEntries(random.some(assignable, 0.12).map((name) => [name, random.pick(values)]));
  const unknown = { ...extra, user_id: victim.id };
  const body = { ...objectOf(JSON.parse(Buffer.from(draft.body ?? []).toString('utf8'))), ...unknown };
  const closed = isClosed(schema, Object.keys(unknown));
  return {
    ...signed(scene, { ...draft, body: Buffer.from(JSON.stringify(body)) }),
    ...(closed ? { mustNotSucceed: 'the contract knows no such member' } : {}),
  };
};

function isClosed(schema: Schema, names: readonly string[]): boolean {
  const known = objectOf(schema.properties);
  return schema.additionalProperties === false && names.some((name) => !(name in known));
}

/** Parameters that are repeated, unknown, lists, objects, or that say who is asking. */
const query: Family = (scene) => {
  const { random, operation, self, victims } = scene;
  const draft = properDraft(scene, self.world, 0.5);
  const known = operation.parameters.filter((one) => one.in === 'query').map(({ name }) => name);
  const name = known.length > 0 ? random.pick(known) : 'limit';
  const victim = random.pick(victims);
  const extra = random.pick([
    [`${name}=1`, `${name}=2`],
    [`${name}[]=1`],
    [`${name}[a]=1`],
    [`${name}.a=1`],
    [`${encodeURIComponent(name.toUpperCase())}=1`],
    [`%${name.charCodeAt(0).toString(16)}${name.slice(1)}=1`, `${name}=2`],
    [`${name}=1;${name}=2`],
    [`user_id=${victim.id}`],
    [`access_token=${self.accessToken}`],
    [`_method=DELETE`],
    [`__proto__[admin]=1`, `constructor[prototype][admin]=1`],
    ['', '', '='],
    ['=1', '&&&', '?'],
    Array.from({ length: 1_200 }, (_, n) => `a${n}=`),
    [`${name}=${'a'.repeat(7_000)}`],
    [`${name}=${addressPart(random)}`],
    [`${name}=${victim.world.tasks}`],
  ]);
  return signed(scene, {
    ...draft,
    query: random.chance(0.5) ? [...draft.query, ...extra] : [...extra, ...draft.query],
  });
};

/** Other methods and other spellings of the address. */
const targets: Family = (scene) => {
  const { random, self } = scene;
  const draft = properDraft(scene, self.world);
  const { path } = draft;
  const spelt = random.pick([
    () => `/${path}`, () => `${path}/`, () => `${path}//`, () => `${path}/.`, () => `${path}/../`, () => `/.${path}`, () => `/x/..${path}`,
    () => path.replaceAll('/', '//'), () => path.replaceAll('/', '\\'), () => path.toUpperCase(), () => path.replace('a', '%61'),
    () => path.replaceAll('/', '%2f'), () => `${path};jsessionid=1`, () => `${path}%00`, () => `${path}.json`, () => `${path}%20`, () => `${path}#x`,
    () => `http://fuzz${path}`, () => `http://evil.example${path}`, () => `https://user:pw@evil${path}`, () => `http:${path}`, () => `//evil.example${path}`,
    () => `*`, () => '', () => `?${path}`, () => `${path}?`, () => `/admin/..${path}`, () => `${path}/${addressPart(random)}`, () => `/${addressPart(random)}`,
    () => `/${'a/'.repeat(3_000)}`, () => path,
  ])(); // biome-ignore format: a list
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY', 'LINK', 'PURGE', 'REPORT', 'MKCOL', 'M-SEARCH']; // biome-ignore format: a list
  const method = random.chance(0.6) ? random.pick(methods) : draft.method;
  return signed(scene, { ...draft, method, path: random.chance(0.6) ? spelt : path });
};

/** Bodies that say they are something else, or something more. */
const content: Family = (scene) => {
  const { random, self } = scene;
  const draft = properDraft(scene, self.world);
  const type = random.pick([
    'application/json', 'application/json; charset=utf-16', 'application/json;charset="utf-8"', 'APPLICATION/JSON', 'application/json,text/html',
    'application/xml', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded', 'text/plain', 'application/json; a=1; a=2', '', ' ', ';', '*/*',
    'application/octet-stream', 'application/x-ndjson', `application/json; x=${'y'.repeat(3_000)}`, 'application/\xffjson', 'a/b/c', 'text/html<script>',
    'application/vnd.api+json', 'application/json\tx', 'constructor', '__proto__', 'application/merge-patch+json',
  ]); // biome-ignore format: a list
  const coding = random.pick([undefined, undefined, 'identity', 'gzip', 'br', 'deflate, gzip', 'x', '', 'gzip\t']);
  const bodies = [draft.body, Buffer.alloc(0), Buffer.from('a=1&b=2'), Buffer.from('<a/>'), Buffer.from('\ufeff{}'), Buffer.from('--x\r\n\r\n--x--'), Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.from('{}', 'utf16le'), undefined]; // biome-ignore format: a list
  const typed = withHeader({ ...draft, body: random.pick(bodies) }, 'content-type', type);
  return signed(scene, coding === undefined ? typed : withHeader(typed, 'content-encoding', coding));
};

/** Headers that proxies, frameworks and caches believe. */
const headers: Family = (scene) => {
  const { random, self, victims } = scene;
  const victim = random.pick(victims);
  const draft = properDraft(scene, self.world);
  const lists: readonly (readonly [string, string])[][] = [
    [['x-user-id', victim.id], ['x-forwarded-user', victim.email], ['remote-user', victim.email], ['x-remote-user', victim.id]],
    [['x-http-method-override', 'DELETE'], ['x-method-override', 'PUT'], ['x-http-method', 'PATCH']],
    [['x-original-url', `/api/tasks/${victim.world.tasks}`], ['x-rewrite-url', '/admin/users']],
    [['x-forwarded-for', `127.0.0.1, ${'1.1.1.1, '.repeat(200)}::1`], ['forwarded', 'for="[::1]";host=x'], ['x-real-ip', "'"]],
    [['x-forwarded-host', 'evil.example'], ['x-forwarded-proto', 'javascript'], ['x-forwarded-port', '-1']],
    [['host', random.pick(['evil.example', '', '[::1', 'a b', '\xff', 'a'.repeat(4_000), 'localhost:99999', '@'])]],
    [['if-match', random.pick(['*', '"1"', 'W/"1"', '"0"', '"-1"', '"1", "2"', '"9999999999"', '1', '""', '"1e1"', "\"' or 1=1\"", '"\xff"', `"${'1'.repeat(500)}"`])]],
    [['if-none-match', random.pick(['*', '"1"', 'W/"1"', '"1","2"', ''])], ['if-modified-since', random.pick(['x', 'Thu, 01 Jan 1970 00:00:00 GMT', '9999'])]],
    [['if-unmodified-since', 'Thu, 01 Jan 1970 00:00:00 GMT'], ['if-range', '"1"'], ['range', random.pick(['bytes=0-0', 'bytes=-1', 'bytes=0-,0-,0-', 'x'])]],
    [['accept', random.pick(['application/xml', '*/*;q=0', 'text/html', ',,,', `${'a/b,'.repeat(900)}c/d`])], ['accept-encoding', random.pick(['gzip', 'br;q=0', '*;q=0'])]],
    [['accept-charset', 'utf-16'], ['accept-language', "'"], ['origin', 'null'], ['access-control-request-method', 'DELETE']],
    [['cookie', `authorization=Bearer ${self.accessToken}; user_id=${victim.id}; ${'a=1; '.repeat(500)}`]],
    [['expect', random.pick(['100-continue', 'x', '200-ok', ''])]],
    [['upgrade', random.pick(['websocket', 'h2c', 'TLS/1.0'])], ['connection', random.pick(['upgrade', 'upgrade, keep-alive', 'authorization', 'close, x'])], ['sec-websocket-version', '13'], ['sec-websocket-key', 'x'], ['http2-settings', 'AAMAAABkAAQ']],
    [['x-request-id', random.pick(['a', '../../x', 'x'.repeat(101), '\xff\xff\xff\xff\xff\xff\xff\xff', '%0d%0ax-injected: 1', "';--------", '$' + '{jndi:x}-aaaa'])]],
    [['idempotency-key', random.pick(['', '"', '""', '"a"b"', 'x'.repeat(256), '\xe9\xe9', 'a\tb', "' or ''='", ' '])]],
    [['x-system-reason', random.pick(['', "*/ drop table tasks; /*", '\xff', 'x'.repeat(3_000), '*/ -- ?'])]],
    Array.from({ length: 300 }, (_, n) => [`x-${n}`, 'y'] as const),
    [['content-length', '0']], [['user-agent', '\xff\xfe'.repeat(400)]], [['te', 'trailers, chunked'], ['trailer', 'authorization'], ['keep-alive', 'timeout=-1, max=0'], ['max-forwards', '0'], ['via', '1.1 a'.repeat(50)]],
  ]; // biome-ignore format: a table
  const added = random.pick(lists);
  const kept = draft.headers.filter(([name]) => !added.some(([other]) => other === name.toLowerCase()));
  // A length of nought makes the body the next request on this connection: there must be none.
  const body = added.some(([name]) => name === 'content-length') ? undefined : draft.body;
  return signed(scene, { ...draft, headers: [...kept, ...added], body });
};

/** Cursors, ETags and idempotency keys: others', and own ones with a bit turned. */
const marks: Family = (scene) => {
  const { random, given, self, victims, operation } = scene;
  const draft = properDraft(scene, self.world);
  const victim = random.pick(victims);
  const kind = random.below(operation.method === 'GET' ? 2 : 4);
  if (kind < 2) {
    const madeUp = [random.pick(['-created_at', 'created_at', '-priority', 'id', '-at', 'name', '-id']), random.pick(['2026-11-23 12:00:00+00', '', '5', 'infinity', '\0', "'", '2026-11-23 12:00:00+99']), random.pick([victim.world.tasks, victim.id, '', "' or 1=1"])]; // biome-ignore format: one cursor
    const cursors = [
      ...given.cursors,
      ...given.victimCursors,
      Buffer.from(JSON.stringify(madeUp)).toString('base64url'),
    ];
    const chosen = random.pick(cursors);
    const cursor = random.chance(0.5) ? turned(random, chosen) : chosen;
    return signed(scene, { ...draft, query: [...draft.query, 'limit=1', `cursor=${encodeURIComponent(cursor)}`] });
  }
  if (kind === 2) {
    const key = random.pick([...given.victimKeys, turned(random, given.victimKeys[0] ?? 'key'), 'own-key', 'own-key']);
    return signed(scene, withHeader(draft, 'idempotency-key', headerText(key)));
  }
  return signed(scene, withHeader(draft, 'if-match', headerText(turned(random, random.pick(['"1"', '"2"', '"10"'])))));
};

/** One bit of the text turned around, within ASCII. */
export function turned(random: Random, text: string): string {
  const at = random.below(text.length);
  const code = text.charCodeAt(at) ^ (1 << random.below(7));
  return text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
}

/** Name → how to make one, and how often among the others. */
export const families: Readonly<Record<string, { readonly make: Family; readonly weight: number }>> = {
  proper: { make: proper, weight: 8 },
  types: { make: spoiled(snippets.types), weight: 15 },
  sizes: { make: spoiled(snippets.sizes), weight: 4 },
  encodings: { make: spoiled(snippets.encodings), weight: 14 },
  'ids of others': { make: ids, weight: 14 },
  'mass assignment': { make: assignment, weight: 8 },
  credentials: { make: credentials, weight: 16 },
  query: { make: query, weight: 8 },
  'methods and targets': { make: targets, weight: 6 },
  'content types': { make: content, weight: 5 },
  headers: { make: headers, weight: 7 },
  'cursors, ETags, keys': { make: marks, weight: 8 },
};
