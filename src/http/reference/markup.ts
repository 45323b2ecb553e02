/** HTML that was escaped on its way in. Values that are no Markup are text. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Markup | string | number | undefined | readonly Part[];

/** `html\`<p>${anything}</p>\``: everything put in is escaped, unless it is markup itself. */
export function html(fragments: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(fragments.map((fragment, at) => fragment + (at < parts.length ? written(parts[at]) : '')).join(''));
}

function written(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Markup) return part.text;
  if (typeof part === 'string' || typeof part === 'number') return escaped(String(part));
  return part.map(written).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');
}

/** The little of Markdown that summaries and descriptions use: paragraphs and `code`. */
export function prose(text: string): Markup[] {
  return text.split(/\n\s*\n/).map((paragraph) => {
    const parts = paragraph.split('`').map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : html`${part}`));
    return html`<p>${parts}</p>`;
  });
}
