/** Requests below HTTP: broken lines, two lengths, torn chunks, clients that go away or never finish. */
import type { Exchange } from './exchange.ts';
import { turned } from './families.ts';
import type { Operation } from './operations.ts';
import type { Person } from './people.ts';
import type { Random } from './random.ts';

export interface RawCase extends Exchange {
  readonly name: string;
  /** More answers than this: something that was data to one reader was a request to the other. */
  readonly answersMax: number;
  /** The one answer, if there is any, has to be a refusal. */
  readonly refused?: boolean;
  /** Silence is an answer too: the client went away, or asked for a tunnel. */
  readonly mayBeSilent?: boolean;
}

interface RawScene {
  readonly random: Random;
  readonly self: Person;
  readonly operation: Operation;
  readonly victim: Person;
}

type Maker = (scene: RawScene) => RawCase;

const latin1 = (text: string) => Buffer.from(text, 'latin1');

function head(scene: RawScene, start: string, ...lines: string[]): string {
  return [start, 'Host: fuzz', `Authorization: Bearer ${scene.self.accessToken}`, ...lines, '', ''].join('\r\n');
}

function one(name: string, pieces: readonly (string | Uint8Array)[], more: Partial<RawCase> = {}): RawCase {
  const bytes = pieces.map((piece) => (typeof piece === 'string' ? latin1(piece) : piece));
  return { name, pieces: bytes, answersMax: 1, ...more };
}

/** Exports are dear and limited; twenty at once on one connection would be refused, rightly. */
const pathOf = ({ operation, self }: RawScene) =>
  operation.path.replace('/export', '/profile').replaceAll(/\{\w+\}/g, self.world.tasks);
const body = '{"name":"raw"}';
/** What a smuggler hides in a body: if it is ever answered, one answer too many comes back. */
const smuggled = 'GET /api/tasks HTTP/1.1\r\nHost: fuzz\r\n\r\n';

const makers: readonly Maker[] = [
  (s) => {
    const start = s.random.pick([
      'GET',
      'GET /',
      `GET ${pathOf(s)}`,
      'GET / HTTP/9.9',
      'GET / HTTP/1.2',
      'GET / HTTP/0.9',
      'get / HTTP/1.1',
      'G\0T / HTTP/1.1',
      ' GET / HTTP/1.1',
      'GET  / HTTP/1.1',
      'GET /\tHTTP/1.1',
      'GET / HTTP/1.1 x',
      'FOO / HTTP/1.1',
      `${'A'.repeat(200)} / HTTP/1.1`,
      'GET / http/1.1',
      'GET\t/ HTTP/1.1',
      'HTTP/1.1 200 OK',
      '\x16\x03\x01\x02\x00\x01\x00',
      'GET /\x00 HTTP/1.1',
      'GET /\x7f HTTP/1.1',
      'GET / HTTP/1.1\nX: y',
      'CONNECT fuzz:443 HTTP/1.1',
      'GET fuzz HTTP/1.1',
      'GET : HTTP/1.1',
      'SOURCE / HTTP/1.1',
      'GET / ICE/1.0',
      'PRI * HTTP/2.0',
      '*',
      '\xff\xfe\xfd',
    ]);
    return one('request line', [head(s, start, 'Connection: close')], { mayBeSilent: start.startsWith('CONNECT') });
  },
  (s) => {
    const line = s.random.pick([
      'X',
      'X y',
      ': y',
      ' X: y',
      'X : y',
      'X\t: y',
      'X\0: y',
      'X: \0',
      'X: a\x7fb',
      'X: \x01',
      '\xff: y',
      'X: a\rb',
      'X: a\nInjected: b',
      'X: y\r\n folded',
      'X\r: y',
      'Host: other',
      'host: fuzz',
      'Content-Length : 0',
      'Content-Length: +0',
      'Content-Length: 0x0',
      'Content-Length: 0, 0',
      'Content-Length: -1',
      'Content-Length: 99999999999999999999',
      'Content-Length: 1e1',
      'Content-Length:',
      'Content-Length: a',
      'Transfer-Encoding: x',
      'Transfer-Encoding:',
      'Transfer-Encoding: identity',
      '@: y',
      '(a): y',
      `${'X'.repeat(20_000)}: y`,
      `X: ${'y'.repeat(20_000)}`,
      Array.from({ length: 2_500 }, (_, n) => `X${n}: y`).join('\r\n'),
    ]);
    return one('header line', [
      head(s, `${s.random.pick(['GET', 'POST'])} ${pathOf(s)} HTTP/1.1`, line, 'Connection: close'),
    ]);
  },
  (s) =>
    one(
      'no end of a line',
      [
        head(s, `GET ${pathOf(s)} HTTP/1.1`, 'Connection: close').replaceAll(
          '\r\n',
          s.random.pick(['\n', '\r', '\n\r', '\r\r\n']),
        ),
      ],
      { mayBeSilent: true, leaves: true },
    ),
  (s) => {
    const te = s.random.pick([
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding : chunked',
      'Transfer-Encoding:\x0bchunked',
      'Transfer-Encoding: chunked, identity',
      'Transfer-Encoding: identity, chunked',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
      'transfer-encoding: CHUNKED',
      'Transfer-Encoding: "chunked"',
      'X: y\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\n ,x',
      '\x00Transfer-Encoding: chunked',
    ]);
    const chunked = `0\r\n\r\n${smuggled}`;
    const lengths = s.random.pick([`Content-Length: ${chunked.length}`, 'Content-Length: 4', 'Content-Length: 0']);
    const lines = s.random.chance(0.5) ? [lengths, te] : [te, lengths];
    return one('length and chunks', [head(s, `POST ${pathOf(s)} HTTP/1.1`, ...lines), chunked], { refused: true });
  },
  (s) => {
    const lengths = s.random.pick([
      ['0', String(smuggled.length)],
      [String(smuggled.length), '0'],
      ['5', '5'],
      [`0, ${smuggled.length}`],
      ['00', '0'],
      [' 0', `${smuggled.length} `],
    ]);
    return one(
      'two lengths',
      [head(s, `POST ${pathOf(s)} HTTP/1.1`, ...lengths.map((length) => `Content-Length: ${length}`)), smuggled],
      { answersMax: 1, refused: true },
    );
  },
  (s) =>
    one('a request as a body', [
      head(s, `POST ${pathOf(s)} HTTP/1.1`, `Content-Length: ${smuggled.length}`, 'Connection: close'),
      smuggled,
    ]),
  (s) => {
    const chunks = s.random.pick([
      'zz\r\n',
      '-1\r\n\r\n',
      '0x5\r\nhello\r\n0\r\n\r\n',
      '5\r\nhelloX0\r\n\r\n',
      '5\nhello\n0\n\n',
      'ffffffffffffffff\r\n',
      'fffffffffffffffff\r\n',
      ' 5\r\nhello\r\n0\r\n\r\n',
      '5 \r\nhello\r\n0\r\n\r\n',
      `5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`,
      `5;a="\n"\r\nhello\r\n0\r\n\r\n`,
      '0\r\nTransfer-Encoding: chunked\r\n\r\n',
      '0\r\nAuthorization: Bearer x\r\n\r\n',
      '0\r\nX y\r\n\r\n',
      `0\r\n${'X: y\r\n'.repeat(4_000)}\r\n`,
      '\r\n\r\n',
      '5\r\nhel',
      '1\r\n{\r\n1\r\n}\r\n0\r\n\r\n',
      `e\r\n${body}\r\n0\r\n\r\n`,
      '00000000000000000000e\r\n',
      '5\r\rhello',
      `5;\r\nhello\r\n0;x\r\n\r\n`,
    ]);
    return one(
      'chunks',
      [head(s, `POST ${pathOf(s)} HTTP/1.1`, 'Transfer-Encoding: chunked', 'Connection: close'), chunks],
      { leaves: /^(ffff|5\r\nhel$|0{10,}|1\r\n\{)/.test(chunks), mayBeSilent: true },
    );
  },
  (s) => {
    const whole =
      head(s, `POST ${pathOf(s)} HTTP/1.1`, `Content-Length: ${body.length + s.random.below(1_000)}`) + body;
    return one('a client that goes away', [whole.slice(0, 1 + s.random.below(whole.length))], {
      leaves: true,
      mayBeSilent: true,
      answersMax: 2,
    });
  },
  (s) => {
    const whole = head(s, `GET ${pathOf(s)} HTTP/1.1`, 'Connection: close');
    const cuts = Array.from({ length: 6 }, () => s.random.below(whole.length)).sort((a, b) => a - b);
    return one(
      'torn apart',
      [0, ...cuts].map((from, at) => whole.slice(from, [...cuts, whole.length][at])),
      { pauseMs: 5 },
    );
  },
  (s) => {
    const count = 2 + s.random.below(20);
    const requests = Array.from({ length: count }, (_, n) =>
      head(
        s,
        `${s.random.pick(['GET', 'OPTIONS'])} ${s.random.pick([pathOf(s), '/health', '/nowhere'])} HTTP/1.1`,
        ...(n === count - 1 ? ['Connection: close'] : []),
      ),
    );
    return one('pipelined', [requests.join('')], { answersMax: count });
  },
  (s) =>
    one(
      'pipelined, then garbage',
      [
        head(s, `GET ${pathOf(s)} HTTP/1.1`),
        s.random.pick(['\0\0\0', 'x', 'GET', '\r\n\r\n\r\n', '{"a":1}', 'GET / HTTP/1.1\r\nHost']),
      ],
      { answersMax: 2 },
    ),
  (s) => {
    const start = `${s.random.pick(['GET', 'POST', 'DELETE'])} ${pathOf(s)} HTTP/1.0`;
    const lines = s.random.some(['Connection: keep-alive', 'Content-Length: 0', 'Expect: 100-continue'], 0.4);
    const text = head(s, start, ...lines);
    return one('HTTP/1.0', [s.random.chance(0.5) ? text.replace('Host: fuzz\r\n', '') : text]);
  },
  (s) =>
    one(
      'HTTP/2 preface',
      [
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        Buffer.from([
          0,
          0,
          0,
          4,
          0,
          0,
          0,
          0,
          0,
          ...Array.from({ length: s.random.below(60) }, () => s.random.below(256)),
        ]),
      ],
      { refused: true },
    ),
  (s) =>
    one(
      'bytes',
      [Buffer.from(Array.from({ length: 1 + s.random.below(400) }, () => s.random.below(256))), '\r\n\r\n'],
      { refused: true },
    ),
  (s) => {
    const whole = head(s, `GET ${pathOf(s)} HTTP/1.1`, 'Connection: close');
    return one('a bit turned', [turned(s.random, whole)], {
      mayBeSilent: true,
      answersMax: 2,
      leaves: s.random.chance(0.3),
    });
  },
  (s) => one('no host', [`GET ${pathOf(s)} HTTP/1.1\r\nConnection: close\r\n\r\n`], { refused: true }),
  (s) =>
    one('absolute form', [
      head(
        s,
        `GET ${s.random.pick(['http://', 'https://', 'ftp://', 'HTTP://', 'javascript:'])}${s.random.pick(['evil', 'fuzz', '[::1]', 'u:p@h', ''])}${pathOf(s)} HTTP/1.1`,
        'Connection: close',
      ),
    ]),
  (s) =>
    one(
      'expectation',
      [
        head(
          s,
          `POST ${pathOf(s)} HTTP/1.1`,
          `Expect: ${s.random.pick(['100-continue', '100-Continue, x', 'nonsense', ''])}`,
          `Content-Length: ${body.length}`,
          'Connection: close',
        ),
        body,
      ],
      { pauseMs: 5 },
    ),
  (s) =>
    one('upgrade', [
      head(
        s,
        `GET ${pathOf(s)} HTTP/1.1`,
        `Upgrade: ${s.random.pick(['websocket', 'h2c', 'foo/1'])}`,
        'Connection: Upgrade, close',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        'Sec-WebSocket-Version: 13',
      ),
    ]),
  (s) =>
    one(
      'line feeds in values',
      [
        head(
          s,
          `GET ${pathOf(s)}?a=${s.random.pick(['\r\nX-Injected: 1', '\nX-Injected: 1', '\rX-Injected: 1', '%0d%0aX-Injected:%201', '\u0085X-Injected: 1'])} HTTP/1.1`,
          'Connection: close',
        ),
      ],
      { mayBeSilent: true },
    ),
  (s) =>
    one('lengths that lie', [
      head(s, `POST ${pathOf(s)} HTTP/1.1`, `Content-Length: ${1_048_577 + s.random.below(1e9)}`, 'Connection: close'),
      body,
    ]),
];

export function rawCase(scene: RawScene): RawCase {
  return scene.random.pick(makers)(scene);
}
