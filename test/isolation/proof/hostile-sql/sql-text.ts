/** Where a text of SQL has its statements and their results' columns, as far as telling differences apart needs it. */

/** Comments, or what is quoted: by an apostrophe, a quotation mark or dollars. */
const parts = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$/g;

/** The same text with what is quoted emptied and comments gone, each as long as it was. */
function bared(sql: string): string {
  return sql.replace(parts, (part) => {
    const kept = /^['"]/.test(part) ? part.charAt(0) : '';
    return kept === '' ? ' '.repeat(part.length) : `${kept}${' '.repeat(part.length - 2)}${kept}`;
  });
}

const withoutComments = (sql: string) => sql.replace(parts, (part) => (/^(?:--|\/\*)/.test(part) ? ' ' : part)).trim();

/** Where one of the separators stands outside quotes and parentheses: from and to. */
function outerPlaces(sql: string, separator: RegExp): [from: number, to: number][] {
  const bare = bared(sql);
  const depths: number[] = [];
  let depth = 0;
  for (const character of bare) {
    if (character === ')' || character === ']') depth -= 1;
    depths.push(...Array.from({ length: character.length }, () => depth));
    if (character === '(' || character === '[') depth += 1;
  }
  return [...bare.matchAll(separator)]
    .filter(({ index }) => depths[index] === 0)
    .map(({ 0: { length }, index }) => [index, index + length]);
}

function splitOutside(sql: string, separator: RegExp): string[] {
  const places = outerPlaces(sql, separator);
  const ends = [...places.map(([from]) => from), sql.length];
  return ends.map((end, i) => sql.slice(places[i - 1]?.[1] ?? 0, end));
}

/** The statements of a text, without their comments. */
export const statementsIn = (sql: string): string[] =>
  splitOutside(withoutComments(sql), /;/g)
    .map((one) => one.trim().replace(/\s+/g, ' '))
    .filter(Boolean);

/**
 * The items of the list of what a statement answers with, as written but for what is quoted and for new names. None where
 * the columns are not those of one plain list: a union, a CTE, `*`.
 */
export function itemsOf(statement: string): string[] {
  if (outerPlaces(statement, /\b(?:union|intersect|except)\b/gi).length > 0) return [];
  const list = /^select\b(?! distinct\b)/i.test(statement)
    ? splitOutside(statement.slice('select'.length), /\b(?:from|where|order|limit|into)\b/gi)[0]
    : /^(?:insert|update|delete)\b/i.test(statement)
      ? splitOutside(statement, /\breturning\b/gi)[1]
      : undefined;
  if (list === undefined) return [];
  const items = splitOutside(list, /,/g).map((item) =>
    bared(item)
      .trim()
      .replace(/\s+as \w+$/i, ''),
  );
  return items.some((item) => item === '' || /(?:^|\.)\*$/.test(item)) ? [] : items;
}
