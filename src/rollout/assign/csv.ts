/**
 * Reads a CSV file (RFC 4180, UTF-8, commas) record by record, so that a list of any length fits in memory. Every fault
 * says the file and the line: whoever has to mend it has it open in a spreadsheet.
 */
import { createReadStream } from 'node:fs';
import { CsvError, parse } from 'csv-parse';
import { type Problem, problem } from '../../errors.ts';

export interface CsvRecord {
  /** The line it ends on, the header's being 1: what an editor shows. */
  readonly line: number;
  readonly fields: readonly string[];
}

/** Keys, addresses and ids are short: a longer record is a quotation mark that was never closed. */
const recordBytesMax = 65_536;

/**
 * The header first, then each record; empty lines are passed over. All records have as many fields as the header.
 *
 * @throws Problem `usage_error` naming file and line
 */
export async function* readCsv(file: string): AsyncGenerator<CsvRecord> {
  const parser = parse({ info: true, skip_empty_lines: true, bom: true, max_record_size: recordBytesMax });
  const source = createReadStream(file);
  const text = source.compose(decodeUtf8);
  text.on('error', (error: Error) => parser.destroy(error));
  text.pipe(parser);
  try {
    // The parser has no type for what `info: true` makes of a record.
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      const at = record.findIndex((field) => field.includes('\0'));
      if (at >= 0) throw csvFault(file, info.lines, at + 1, 'has a NUL character, which Postgres cannot hold');
      yield { line: info.lines, fields: record };
    }
  } catch (error) {
    throw asProblem(error, file, parser.info.lines);
  } finally {
    source.destroy();
    text.destroy();
    parser.destroy();
  }
}

/** @param column which column, the first being 1, or its name */
export function csvFault(file: string, line: number, column: number | string, what: string): Problem {
  return problem('usage_error', `${file}, line ${line}, column ${column}: ${what}`);
}

/** Replacement characters would silently be other keys. */
async function* decodeUtf8(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

const sentences: Partial<Record<CsvError['code'], string>> = {
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: 'has another number of columns than the header',
  CSV_QUOTE_NOT_CLOSED: 'a quotation mark is never closed',
  CSV_MAX_RECORD_SIZE: 'is too long; a quotation mark may never have been closed',
  CSV_INVALID_CLOSING_QUOTE: 'a quotation mark inside a quoted field must be doubled',
  INVALID_OPENING_QUOTE: 'a quotation mark stands inside a field that is not quoted',
};

function asProblem(error: unknown, file: string, lines: number): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const { code } = error;
  if (code === 'ENOENT') return problem('usage_error', `${file}: there is no such file`);
  if (code === 'EACCES') return problem('usage_error', `${file}: may not be read`);
  if (code === 'EISDIR') return problem('usage_error', `${file}: is a directory`);
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return problem('usage_error', `${file}: is not UTF-8 (after line ${lines}); save it as UTF-8`);
  }
  if (!(error instanceof CsvError)) return error;
  return problem('usage_error', `${file}, line ${lineOf(error, lines)}: ${sentences[error.code] ?? error.message}`);
}

function lineOf(error: CsvError, lines: number): number {
  const own: unknown = error.lines;
  return typeof own === 'number' ? own : lines;
}
