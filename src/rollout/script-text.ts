/** Pieces of scripts: quoting, indenting, and what both kinds write alike. */
import { literal } from './identifier.ts';
import type { Action, Plan, Sweep } from './plan.ts';

/** Between dollars, under a name that does not occur in the text. */
export function dollarQuoted(text: string, name = 'ringfence'): string {
  let tag = `$${name}$`;
  for (let n = 1; text.includes(tag); n++) tag = `$${name}${n}$`;
  return `${tag}\n${text}\n${tag}`;
}

/** What is inside text that Postgres takes to the letter must stay as it is: then nothing is indented. */
export function indented(text: string, spaces = 2): string {
  if (hasOpenLiteral(text)) return text;
  return text
    .split('\n')
    .map((line) => (line === '' ? line : ' '.repeat(spaces) + line))
    .join('\n');
}

/** Whether a quoted literal or name goes over the end of a line. Dollar quotes hold code, where blanks do not matter. */
function hasOpenLiteral(text: string): boolean {
  let quote: string | null = null;
  for (const line of text.split('\n')) {
    for (let at = 0; at < line.length; at++) {
      if (quote === null && line.startsWith('--', at)) break;
      const character = line[at];
      if (quote === null && (character === "'" || character === '"')) quote = character;
      else if (character === quote) quote = null;
    }
    if (quote !== null) return true;
  }
  return false;
}

export function statement(text: string): string {
  const trimmed = text.trim();
  return trimmed.endsWith(';') ? trimmed : `${trimmed};`;
}

/** @param range a condition on the alias `t`; null for the whole table */
export function sweepStatement(sweep: Sweep, leaf: string, range: string | null): string {
  const update = sweep.update.replaceAll('%TABLE%', () => leaf);
  return range === null ? update.replaceAll(/\n\s+and %RANGE%/g, '') : update.replaceAll('%RANGE%', () => range);
}

const faultsShown = 20;

/** Raises, naming what was found. */
export function checkBlock({ query, remedy, sqlstate = 'RF013' }: Extract<Action, { kind: 'check' }>): string {
  return `declare
  ringfence_faults text;
begin
  select string_agg(ringfence_found.fault, '; ') into ringfence_faults
  from (
${indented(query.replace(/;\s*$/, ''), 4)}
    limit ${faultsShown}
  ) ringfence_found;
  if ringfence_faults is not null then
    raise exception '%', ringfence_faults using errcode = '${sqlstate}', hint = ${literal(remedy)};
  end if;
end`;
}

export const oneLine = (text: string) => text.replaceAll(/\s+/g, ' ');

export function sectionLine(title: string): string {
  return `-- ${title} ${'-'.repeat(116 - title.length)}`;
}

/** Lists of owners are no part of a script: raises where one that the plan looks owners up in is not there. */
export function listsBlock({ ownership }: Plan): string | null {
  const sources = ownership.owned.flatMap((table) => table.sources);
  const lists = [...new Set(sources.flatMap((source) => (source.kind === 'csv' ? [source.map] : [])))];
  if (lists.length === 0) return null;
  return checkBlock({
    kind: 'check',
    query: `select format('the list %s is not in ringfence_rollout.owner_map', l.name) as fault
from unnest(array[${lists.map(literal).join(', ')}]) l (name)
where not exists (select from ringfence_rollout.owner_map m where m.map = l.name)`,
    remedy: 'Put its rows there (map, value, user_id), then run this again.',
  });
}
