/** What must never be in a log, and how it is kept out. */

const hidden = '[hidden]';

/** Names of members whose value is a secret, whatever it is. `token_id` and `token_count` are none. */
const secretName =
  /password|passwd|passphrase|secret|authorization|cookie|credentials|api_?key|token_hash|^jwt$|^(?:(?:access|refresh|id|api|bearer)_?)?tokens?$/i;

/** password=… of a connection string, "password": "…" of JSON that stands inside a text, however often escaped. */
const secretInText =
  /([\w-]*(?:password|passwd|passphrase|secret|authorization|cookie|credentials|api_?key|(?:access|refresh|id|api)_token|(?<=["'])token)[\w-]*\\*["']?\s*[=:]\s*)(?:\\*"(?:(?!\\*").)*\\*"|\[[^\]]*\]|[^\s&,}\]]+)/gis;

const secretTexts: readonly (readonly [RegExp, string])[] = [
  // scheme://user:password@host
  [/(\b[a-z][a-z\d+.-]*:\/\/[^\s:/@]*:)[^\s]+@/gi, `$1${hidden}@`],
  [secretInText, `$1${hidden}`],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${hidden}`],
  // A JWT, and our own opaque tokens.
  [/\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*/g, hidden],
  [/\brf[rt]_[\w-]{16,}/g, hidden],
  // A password hash in PHC form.
  [/\$argon2i?d?\$\S+/g, hidden],
];

/** Cheap, and false for nearly every line. */
const suspicious = /pass|secret|token|authoriz|cookie|credential|api_?key|jwt|:\/\/|Bearer|Basic|eyJ|rf[rt]_|\$argon2/i;

/** @param line one JSON object and a line feed. @returns the same without its secrets */
export function withoutSecrets(line: string): string {
  if (!suspicious.test(line)) return line;
  try {
    return `${JSON.stringify(JSON.parse(line), (name, value: unknown) => clean(name, value))}\n`;
  } catch {
    return '{"level":"error","msg":"a line that was no JSON was left out of the log"}\n';
  }
}

function clean(name: string, value: unknown): unknown {
  if (value === null || typeof value === 'boolean') return value;
  if (secretName.test(name)) return hidden;
  if (typeof value !== 'string' || !suspicious.test(value)) return value;
  return secretTexts.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), value);
}

const causesShownMax = 5;

/**
 * An error as it may be logged. Only members that are known: errors of Postgres carry whole rows in `detail`, and
 * libraries hang requests and connections on theirs.
 */
export function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const text = (name: string) => {
    const value = name in error ? Reflect.get(error, name) : undefined;
    return typeof value === 'string' ? { [name]: value } : {};
  };
  return {
    type: error.name,
    message: error.message,
    ...text('code'),
    ...text('table'),
    ...text('constraint'),
    stack: error.stack,
    ...(error.cause === undefined || depth >= causesShownMax ? {} : { cause: describeError(error.cause, depth + 1) }),
  };
}
