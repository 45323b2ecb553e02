/** A page for a terminal: tables where they fit, otherwise a block for each row. What a terminal would obey is not sent. */
import { type Block, criteriaColumns, type Page } from './page.ts';

const width = 100;

export function textOf({ title, subtitle, summary, sections }: Page): string {
  const parts = [
    [plain(title), ...wrapped(subtitle, ''), ...wrapped(summary, '')].join('\n'),
    ...sections.flatMap(({ heading, blocks }) => [
      `${plain(heading)}\n${'-'.repeat(heading.length)}`,
      ...blocks.map(blockOf),
    ]),
  ];
  return parts.join('\n\n');
}

function blockOf(block: Block): string {
  switch (block.kind) {
    case 'text':
      return wrapped(block.text, '').join('\n');
    case 'table':
      return tableOf(block.caption, block.columns, block.rows);
    case 'criteria':
      return tableOf(
        block.caption,
        criteriaColumns,
        block.criteria.map(({ id, text, state, evidence, remedy }) => [id, text, state, `${evidence} ${remedy ?? ''}`]),
      );
    case 'boxes':
      return block.boxes
        .map(({ id, text, who }) => wrapped(`[ ] ${id} ${text} (${who})`, '    ').join('\n'))
        .join('\n');
    case 'signature':
      return block.lines.map((line) => `${plain(line).padEnd(12)}${'_'.repeat(40)}`).join('\n\n');
  }
}

function tableOf(caption: string, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [columns, ...rows].map((row) => row.map(plain));
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => (row[at] ?? '').length)));
  const fits = widths.reduce((sum, one) => sum + one + 2, 0) <= width + 2;
  const body = fits ? cells.map((row) => aligned(row, widths)) : rows.flatMap((row) => entry(columns, row));
  return [...wrapped(`${caption}:`, ''), ...body].join('\n');
}

function aligned(row: readonly string[], widths: readonly number[]): string {
  const line = row.map((cell, at) =>
    /^\d[\d ]*$/.test(cell) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
  );
  return `  ${line.join('  ').trimEnd()}`;
}

/** A row with sentences in it: its first cell, and the others below. */
function entry(columns: readonly string[], [first = '', ...rest]: readonly string[]): string[] {
  const lines = rest.flatMap((cell, at) => {
    const column = columns[at + 1] ?? '';
    return cell === ''
      ? []
      : wrapped(column === '' ? cell : `${column}: ${cell}`, '      ').map((line) => `    ${line.trimStart()}`);
  });
  return [`  ${plain(first)}`, ...lines];
}

function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of plain(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line.trim() === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}

function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
