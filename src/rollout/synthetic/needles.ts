/** The forms in which a text may stand in a file or an answer: as it is, and as encodings leave it. */

export interface Needle {
  readonly bytes: Buffer;
  /** `plain`, `base64`, … */
  readonly form: string;
  /** What follows reads on in the same form: from so many bytes behind the needle. */
  readonly plain: boolean;
}

/** @param text ASCII letters and digits, so that no escaping that is usual changes it */
export function needlesOf(text: string): readonly Needle[] {
  const characters = [...text];
  const code = (character: string) => character.charCodeAt(0).toString(16);
  const hex = Buffer.from(text, 'latin1').toString('hex');
  const each = (form: (character: string) => string) => characters.map(form).join('');
  const forms: readonly (readonly [form: string, bytes: string | Buffer])[] = [
    ['plain', text],
    ['upper case', text.toUpperCase()],
    ['hex', hex],
    ['hex', hex.toUpperCase()],
    ...[0, 1, 2].map((shift) => ['base64', base64At(text, shift)] as const),
    ['URL-escaped', each((c) => `%${code(c)}`)],
    ['URL-escaped', each((c) => `%${code(c).toUpperCase()}`)],
    ['JSON-escaped', each((c) => `\\u00${code(c)}`)],
    ['JSON-escaped', each((c) => `\\u00${code(c).toUpperCase()}`)],
    ['HTML-escaped', each((c) => `&#${c.charCodeAt(0)};`)],
    ['HTML-escaped', each((c) => `&#x${code(c)};`)],
    ['reversed', characters.toReversed().join('')],
    ['UTF-16', Buffer.from(text, 'utf16le')],
  ];
  const seen = new Set<string>();
  return forms.flatMap(([form, bytes]) => {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    const key = buffer.toString('latin1');
    if (seen.has(key)) return [];
    seen.add(key);
    return [{ bytes: buffer, form, plain: form === 'plain' }];
  });
}

/** What is sure of it when `shift` unknown bytes stand before it in a group of three, and others behind it. */
function base64At(text: string, shift: number): string {
  const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(text, 'latin1')]).toString('base64');
  const first = Math.ceil((shift * 8) / 6);
  const last = Math.floor(((shift + text.length) * 8) / 6);
  return encoded.slice(first, last);
}
