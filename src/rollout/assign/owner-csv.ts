/** Lists of owners: the value that a column holds, and the user who is meant. */
import { problem } from '../../errors.ts';
import { csvFault, readCsv } from './csv.ts';

export interface OwnerEntry {
  readonly line: number;
  /** What the table's column holds. */
  readonly value: string;
  /** The user, as the file names them: an id, or what a column of the users' table holds. */
  readonly user: string;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return uuid.test(text);
}

/**
 * Reads a file of two columns, value and user, under a header of any two names.
 *
 * @throws Problem `usage_error` naming file, line and column: no header, a user left out
 */
export async function* readOwnerCsv(file: string): AsyncGenerator<OwnerEntry> {
  let headed = false;
  for await (const { line, fields } of readCsv(file)) {
    const [value = '', user = ''] = fields;
    if (!headed) {
      requireHeader(file, fields);
      headed = true;
      continue;
    }
    if (user === '') throw csvFault(file, line, 2, 'no user is named');
    yield { line, value, user };
  }
  if (!headed) throw problem('usage_error', `${file}: is empty; a header and a line for each value are expected`);
}

function requireHeader(file: string, fields: readonly string[]): void {
  requireCommas(file, fields);
  if (fields.length !== 2) {
    throw problem('usage_error', `${file}, line 1: must have two columns, value and user; it has ${fields.length}`);
  }
  if (fields.some(isUuid)) {
    throw problem('usage_error', `${file}, line 1: must be a header such as value,user; it has an id already`);
  }
}

/** What a spreadsheet writes where the decimal mark is a comma. */
export function requireCommas(file: string, header: readonly string[]): void {
  const [only = ''] = header;
  if (header.length !== 1 || !/[;\t]/.test(only)) return;
  throw problem('usage_error', `${file}, line 1: the columns must be separated by commas`);
}
