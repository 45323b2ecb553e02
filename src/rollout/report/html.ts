/**
 * A page as one HTML file: no script, nothing from outside (a policy in the page says so), readable on paper. States are
 * words, not colours alone; contrast is above 4.5:1 (WCAG 2.2, 1.4.3), also in the dark.
 */
import { type Block, criteriaColumns, type Page, type State } from './page.ts';

const style = `
:root { color-scheme: light dark; --text: #1b1f24; --soft: #4a5360; --line: #c9ced6; --back: #fff; --head: #f2f4f7;
  --met: #14602b; --not-met: #a1161b; --not-measured: #6b4a00; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #b4bcc8; --line: #4a515c; --back: #16191d;
  --head: #22272e; --met: #7fdc98; --not-met: #ff9a96; --not-measured: #f0c674; } }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 62rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { margin: .4rem 0; }
.subtitle, caption { color: var(--soft); }
.summary { font-weight: 600; font-size: 1.1rem; margin: 1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
/* A class or a state in one word, beside a column that takes all there is. */
td { min-width: 5.5rem; }
thead th { background: var(--head); overflow-wrap: normal; }
tbody th { font-weight: 600; white-space: nowrap; }
.state { font-weight: 700; white-space: nowrap; }
.met { color: var(--met); } .not-met { color: var(--not-met); } .not-measured { color: var(--not-measured); }
.remedy { color: var(--soft); display: block; }
ul.boxes { list-style: none; padding: 0; }
ul.boxes li { padding: .25rem 0 .25rem 1.7rem; text-indent: -1.7rem; }
.box { display: inline-block; width: .85rem; height: .85rem; border: 1.5px solid var(--text); margin-right: .85rem;
  vertical-align: -.08rem; text-indent: 0; }
.signature { display: grid; grid-template-columns: max-content 1fr; gap: 1.6rem 1rem; max-width: 36rem; margin: 1.4rem 0; break-inside: avoid; }
.signature dt { color: var(--soft); align-self: end; } .signature dd { margin: 0; border-bottom: 1px solid var(--text); }
code { font: .9em ui-monospace, monospace; background: var(--head); padding: .1em .3em; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --text: #000; --soft: #333; --line: #999; --back: #fff; --head: #eee;
  --met: #0b4a1e; --not-met: #8a0f14; --not-measured: #553a00; }
  body { max-width: none; padding: 0; font-size: 10pt; } .scroll { overflow: visible; }
  tr, li { break-inside: avoid; } h2 { break-after: avoid; } thead { display: table-header-group; } }
`;

export function htmlOf({ title, subtitle, summary, sections }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p class="subtitle">${escaped(subtitle)}</p>
<p class="summary">${escaped(summary)}</p>
</header>
<main>
${sections.map(({ heading, blocks }) => `<section>\n<h2>${escaped(heading)}</h2>\n${blocks.map(blockOf).join('\n')}\n</section>`).join('\n')}
</main>
</body>
</html>
`;
}

function blockOf(block: Block): string {
  switch (block.kind) {
    case 'text':
      return `<p>${escaped(block.text)}</p>`;
    case 'table':
      return tableOf(
        block.caption,
        block.columns,
        block.rows.map((cells) => cells.map(escaped)),
      );
    case 'criteria': {
      const rows = block.criteria.map(({ id, text, state, evidence, remedy }) => [
        escaped(id),
        escaped(text),
        stateOf(state),
        `${escaped(evidence)}${remedy === undefined ? '' : ` <span class="remedy">${escaped(remedy)}</span>`}`,
      ]);
      return tableOf(block.caption, criteriaColumns, rows);
    }
    case 'boxes':
      return `<ul class="boxes">\n${block.boxes
        .map(({ id, text, who, command }) => {
          const how = command === undefined ? '' : ` – <code>${escaped(command)}</code>`;
          return `<li><span class="box" role="img" aria-label="open:"></span>${escaped(id)} ${escaped(text)} (${escaped(who)})${how}</li>`;
        })
        .join('\n')}\n</ul>`;
    case 'signature':
      return `<dl class="signature">\n${block.lines.map((line) => `<dt>${escaped(line)}</dt><dd></dd>`).join('\n')}\n</dl>`;
  }
}

function stateOf(state: State): string {
  const mark = { met: '✓', 'not met': '✗', 'not measured': '–' }[state];
  return `<span class="state ${state.replace(' ', '-')}"><span aria-hidden="true">${mark}</span> ${state}</span>`;
}

/** @param rows of HTML; the first cell of a row is its heading */
function tableOf(caption: string, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = columns.map((column) => `<th scope="col">${escaped(column)}</th>`).join('');
  // A list of names and what they are has none.
  const heading = columns.some((column) => column !== '') ? `<thead><tr>${head}</tr></thead>\n` : '';
  const body = rows.map(([first = '', ...rest]) => {
    return `<tr><th scope="row">${first}</th>${rest.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escaped(caption)}">\n<table>\n<caption>${escaped(caption)}</caption>\n${heading}<tbody>\n${body.join('\n')}\n</tbody>\n</table>\n</div>`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ').replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');
}
