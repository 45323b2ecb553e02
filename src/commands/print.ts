/** What commands put on standard output: rows as a table or as JSON. No colours; control characters are shown, not sent. */

/** @param json one JSON document, for programs */
export function printRows(rows: readonly object[], columns: readonly string[], json: boolean) {
  console.log(json ? JSON.stringify(rows, null, 2) : table(rows, columns));
}

export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}

/** Aligned columns with a heading. */
export function table(rows: readonly object[], columns: readonly string[]): string {
  const cells = [columns.map(visible), ...rows.map((row) => cellsOf(row, columns))];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => (line[at] ?? '').length)));
  const lines = cells.map((line) =>
    line
      .map((text, at) => text.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return lines.join('\n');
}

function cellsOf(row: object, columns: readonly string[]): string[] {
  const values = new Map<string, unknown>(Object.entries(row));
  return columns.map((column) => cell(values.get(column)));
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `\\x${value.toString('hex')}`;
  return visible(typeof value === 'string' ? value : typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** A value may come from anybody: what a terminal would obey, or not show, is escaped. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
