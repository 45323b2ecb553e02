/** One request as it is to be sent, in parts that can be taken away one by one when it has found a fault. */
export interface Draft {
  readonly method: string;
  /** As it stands in the request line. */
  readonly path: string;
  /** `name=value`, encoded. */
  readonly query: readonly string[];
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: Uint8Array | undefined;
}

/** Header text is Latin-1: each character is one byte. */
export function bytesOf(draft: Draft): Buffer {
  const { method, path, query, headers, body } = draft;
  const target = query.length > 0 ? `${path}?${query.join('&')}` : path;
  const given = new Set(headers.map(([name]) => name.toLowerCase()));
  const head = [
    `${method} ${target} HTTP/1.1`,
    ...(given.has('host') ? [] : ['host: fuzz']),
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined || given.has('content-length') || given.has('transfer-encoding')
      ? []
      : [`content-length: ${body.length}`]),
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body ?? Buffer.alloc(0)]);
}

const shownMax = 1_500;

/** As text for printf '%b', cut in the middle when it is long. */
export function shown(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  const cut =
    text.length <= shownMax
      ? text
      : `${text.slice(0, shownMax / 2)}…(${text.length - shownMax} more)…${text.slice(-shownMax / 2)}`;
  return cut.replaceAll(/[\\\r\n\0]|[^\x20-\x7e…]/g, (c) => {
    if (c === '\r') return '\\r';
    if (c === '\n') return '\\n';
    return c === '\\' ? '\\\\' : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** Smaller requests that may show the same fault: half of the query, of the headers, of the body; then single parts. */
export function smaller(draft: Draft): Draft[] {
  const { query, headers, body } = draft;
  return [
    ...halves(query).map((kept) => ({ ...draft, query: kept })),
    ...halves(headers).map((kept) => ({ ...draft, headers: kept })),
    ...(body === undefined ? [] : smallerBodies(body).map((kept) => ({ ...draft, body: kept }))),
  ];
}

function halves<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [];
  const middle = Math.ceil(list.length / 2);
  const single = list.length > 2 ? list.map((_, at) => list.toSpliced(at, 1)) : [];
  return [list.slice(middle), list.slice(0, middle), ...single].filter((kept) => kept.length < list.length);
}

function smallerBodies(body: Uint8Array): Uint8Array[] {
  if (body.length === 0) return [];
  const smallerTexts = smallerJson(body).map((text) => Buffer.from(text));
  if (smallerTexts.length > 0) return smallerTexts;
  const middle = Math.ceil(body.length / 2);
  return [body.subarray(0, middle), body.subarray(middle)].filter((kept) => kept.length < body.length);
}

function smallerJson(body: Uint8Array): string[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return [];
  }
  return smallerValues(value, 0).map((smallerValue) => JSON.stringify(smallerValue));
}

const levelsMax = 3;

function smallerValues(value: unknown, level: number): unknown[] {
  if (level > levelsMax) return [];
  if (typeof value === 'string') return value.length > 1 ? [value.slice(0, value.length / 2)] : [];
  if (Array.isArray(value)) {
    const inner = value.length === 1 ? smallerValues(value[0], level + 1).map((item) => [item]) : [];
    return [...halves(value), ...inner];
  }
  if (typeof value !== 'object' || value === null) return [];
  const entries = Object.entries(value);
  return [
    ...halves(entries).map((kept) => Object.fromEntries(kept)),
    ...entries.flatMap(([key, item]) => smallerValues(item, level + 1).map((kept) => ({ ...value, [key]: kept }))),
  ];
}
