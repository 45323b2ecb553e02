/** Texts without what is new by chance, so that those of two runs can be compared. */
import type { WireAnswer } from '../model/client.ts';

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const time = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?/g;
const hash = /\\\\x[0-9a-f]{64}/g;

/** Ids by the order in which they come up: who refers to whom stays. */
export function normal(text: string, { mark }: { readonly mark: string }): string {
  const ids: string[] = [];
  return text
    .replaceAll(mark, '<mark>')
    .replaceAll(uuid, (id) => {
      if (!ids.includes(id)) ids.push(id);
      return `<id ${ids.indexOf(id)}>`;
    })
    .replaceAll(time, '<time>')
    .replaceAll(hash, '<hash>');
}

const telling = ['content-type', 'etag', 'location', 'link', 'retry-after'] as const;

export function normalAnswer({ status, headers, text }: WireAnswer, actor: { readonly mark: string }): string {
  return normal([status, ...telling.map((name) => headers[name] ?? ''), text].join('\n'), actor);
}
