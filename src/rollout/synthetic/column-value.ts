/** A value for a column of a synthetic row, by its type: a mark wherever a text fits. As text, which Postgres reads by the column. */
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { Column } from '../catalog.ts';
import { markLength } from './marks.ts';

/** What is known of types that are not Postgres' own: an enum's first label, a domain's base. */
export interface NamedType {
  readonly name: string;
  readonly label: string | null;
  readonly base: string | null;
}

export interface ColumnValue {
  readonly text: string;
  readonly isMarked: boolean;
}

/** Whoever knows the value could pass for the user: no mark there, which might be taken for a password. */
const secret = /pass|pwd|hash|secret|token|salt|otp|api_?key|credential/i;

export function mayHoldMark({ name, type }: Column): boolean {
  if (secret.test(name)) return false;
  return isText(type) ? roomOf(type) >= markLength : /^jsonb?$|^(text|character varying)\[\]$/.test(type);
}

function isText(type: string): boolean {
  return /^(text|character varying|character|citext|public\.citext)(\(\d+\))?$/.test(type);
}

function roomOf(type: string): number {
  const [, length] = /\((\d+)\)/.exec(type) ?? [];
  if (length !== undefined) return Number(length);
  return type === 'character' ? 1 : Number.POSITIVE_INFINITY;
}

/** @returns null for a type of which nothing is known */
export function valueFor(
  column: Column,
  types: ReadonlyMap<string, NamedType>,
  mark: () => string,
): ColumnValue | null {
  const { name, type } = column;
  if (mayHoldMark(column)) {
    const text =
      /mail/i.test(name) && isText(type) && roomOf(type) >= markLength + 18 ? `${mark()}@ringfence.invalid` : mark();
    if (/^jsonb?$/.test(type)) return { text: JSON.stringify({ canary: text }), isMarked: true };
    return { text: type.endsWith('[]') ? `{${text}}` : text, isMarked: true };
  }
  const text = plainValue(type, types);
  return text === null ? null : { text, isMarked: false };
}

/** Large and by chance: an application that counts upwards does not come there soon. */
function plainValue(type: string, types: ReadonlyMap<string, NamedType>): string | null {
  const named = types.get(type);
  if (named?.label != null) return named.label;
  if (named?.base != null) return plainValue(named.base, types);
  if (type.endsWith('[]')) return '{}';
  if (isText(type))
    return randomBytes(16)
      .toString('hex')
      .slice(0, Math.min(32, roomOf(type)));
  if (/^bit/.test(type)) return null;
  switch (type.replace(/\(.*?\)/, '')) {
    case 'uuid':
      return randomUUID();
    case 'smallint':
      return String(randomInt(20_000, 32_000));
    case 'integer':
      return String(randomInt(1_900_000_000, 2_140_000_000));
    case 'bigint':
      return String(randomInt(2 ** 46, 2 ** 47));
    case 'numeric':
    case 'real':
    case 'double precision':
    case 'money':
      return '1';
    case 'boolean':
      return 'false';
    case 'bytea':
      return `\\x${randomBytes(32).toString('hex')}`;
    case 'json':
    case 'jsonb':
      return '{}';
    case 'date':
    case 'timestamp without time zone':
    case 'timestamp with time zone':
      return 'now';
    case 'time without time zone':
    case 'time with time zone':
      return '00:00';
    case 'interval':
      return '1 day';
    case 'inet':
    case 'cidr':
      return '192.0.2.1';
    case 'macaddr':
      return '00:00:5e:00:53:01';
    case 'point':
      return '(0,0)';
    case 'tsvector':
    case 'hstore':
    case 'public.hstore':
      return '';
    case 'xml':
      return '<canary/>';
    default:
      return /range$/.test(type) ? 'empty' : null;
  }
}
