/** The kill matrix as a section of docs/proof.md, between two marks; the rest of the page is written by hand. */
import type { Outcome } from './hunt.ts';
import type { Mutant } from './mutant.ts';

const begin = '<!-- The kill matrix: written by `npm run proof -- --mutants`; do not edit. -->';
const end = '<!-- The end of the kill matrix. -->';

/** By how a row begins: name and invariant. */
type Rows = ReadonlyMap<string, string>;

export function rowsOf(outcomes: readonly Outcome[]): Rows {
  return new Map(
    outcomes.map(({ mutant, killedBy, fault, seconds }) => {
      const by = killedBy
        ? `\`${killedBy.suite}\`: ${killedBy.test}`
        : fault === null
          ? '**survives**'
          : '**undecided**';
      return [rowStart(mutant), `${rowStart(mutant)} | ${cell(by)} | ${seconds.toFixed(1)} |`];
    }),
  );
}

/** The mutants that a page's matrix shows as killed. */
export function killedIn(page: string): Rows {
  const section = page.split(begin)[1]?.split(end)[0] ?? '';
  const rows = section.split('\n').filter((line) => /^\| .* \| I\d+ \| `/.test(line));
  return new Map(rows.map((row) => [row.split(' | `')[0] ?? '', row]));
}

export const rowStart = ({ name, breaks }: Mutant) => `| ${cell(name)} | ${breaks}`;

export function tableOf(mutants: readonly Mutant[], rows: Rows): string {
  const shown = mutants.flatMap((mutant) => rows.get(rowStart(mutant)) ?? []);
  return ['| mutant | breaks | killed by | seconds |', '|---|---|---|---|', ...shown].join('\n');
}

/** @returns the page with these rows; others that it had stay, as long as there is such a mutant */
export function withRows(page: string, mutants: readonly Mutant[], rows: Rows): string {
  const [before, after] = [page.split(begin)[0], page.split(end)[1]];
  if (before === undefined || after === undefined) throw new Error('docs/proof.md lacks the marks of the kill matrix');
  const table = tableOf(mutants, new Map([...killedIn(page), ...rows]));
  return `${before}${begin}\n\n${table}\n\n${end}${after}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
