/** A page as Markdown (GitHub's). What comes from a database or a log stays text, whatever it holds. */
import { type Block, criteriaColumns, type Page } from './page.ts';

export function markdownOf({ title, subtitle, summary, sections }: Page): string {
  const parts = [
    `# ${escaped(title)}`,
    escaped(subtitle),
    `**${escaped(summary)}**`,
    ...sections.flatMap(({ heading, blocks }) => [`## ${escaped(heading)}`, ...blocks.map(blockOf)]),
  ];
  return `${parts.join('\n\n')}\n`;
}

function blockOf(block: Block): string {
  switch (block.kind) {
    case 'text':
      return escaped(block.text);
    case 'table':
      return `${escaped(block.caption)}:\n\n${tableOf(block.columns, block.rows)}`;
    case 'criteria': {
      const rows = block.criteria.map(({ id, text, state, evidence, remedy }) => [
        id,
        text,
        state,
        remedy === undefined ? evidence : `${evidence} ${remedy}`,
      ]);
      return `${escaped(block.caption)}:\n\n${tableOf(criteriaColumns, rows)}`;
    }
    case 'boxes':
      return block.boxes
        .map(({ id, text, who, command }) => {
          const how = command === undefined ? '' : ` – ${code(command)}`;
          return `- [ ] ${escaped(id)} ${escaped(text)} (${escaped(who)})${how}`;
        })
        .join('\n');
    case 'signature':
      return block.lines
        .map((line) => `${escaped(line)}: \\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_`)
        .join('\n\n');
  }
}

function tableOf(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(' | ')} |`;
  return [line(columns), `| ${columns.map(() => '---').join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** Every ASCII character of Markdown may be escaped with a backslash (CommonMark 2.4); control characters become blanks. */
function escaped(text: string): string {
  return plain(text).replaceAll(/[\\`*_{}[\]<>#+!|~&]/g, (character) => `\\${character}`);
}

function code(text: string): string {
  const fence = '`'.repeat(1 + Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length)));
  return `${fence}${plain(text)}${fence}`;
}

function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
