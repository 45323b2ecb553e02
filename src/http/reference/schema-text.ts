/** A JSON Schema for people: its type in a few words, and the fields of an object with what they allow. */
import { html, type Markup, prose } from './markup.ts';
import { isObject, type JsonSchema } from './schemas.ts';

export function schemaText(schema: JsonSchema): Markup {
  return html`${typeText(schema)}${constraints(schema)}`;
}

function typeText(schema: JsonSchema): Markup {
  const { $ref: ref, anyOf, oneOf, allOf, type } = schema;
  if (typeof ref === 'string') {
    const name = ref.split('/').at(-1) ?? '';
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  for (const [choices, word] of [
    [anyOf ?? oneOf, ' or '],
    [allOf, ' and '],
  ] as const) {
    if (Array.isArray(choices)) return joined(choices.filter(isObject).map(schemaText), word);
  }
  if (Array.isArray(schema.enum)) return html`one of ${joined(schema.enum.map(value), ', ')}`;
  if ('const' in schema) return value(schema.const);
  if (type === 'array') return html`list of ${isObject(schema.items) ? schemaText(schema.items) : 'anything'}`;
  if (Array.isArray(type)) return html`${type.join(' or ')}`;
  if (type === 'object' && !isObject(schema.properties)) return html`JSON object`;
  return html`${typeof type === 'string' ? type : 'anything'}`;
}

function value(given: unknown): Markup {
  return html`<code>${typeof given === 'string' ? given : JSON.stringify(given)}</code>`;
}

function joined(parts: readonly Markup[], word: string): Markup {
  return html`${parts.flatMap((part, at) => (at === 0 ? [part] : [html`${word}`, part]))}`;
}

function constraints(schema: JsonSchema): Markup {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, format } = schema;
  const parts = [
    typeof format === 'string' ? format : undefined,
    between(minimum, maximum, ''),
    between(minLength, maxLength, ' characters'),
    between(minItems, maxItems, ' items'),
    'default' in schema ? `default ${JSON.stringify(schema.default)}` : undefined,
  ].filter((part) => part !== undefined);
  return html`${parts.map((part) => html`, ${part}`)}`;
}

function between(low: unknown, high: unknown, what: string): string | undefined {
  if (typeof low === 'number' && typeof high === 'number') return `${low} to ${high}${what}`;
  if (typeof low === 'number') return `at least ${low}${what}`;
  return typeof high === 'number' ? `at most ${high}${what}` : undefined;
}

export function fieldList(schema: JsonSchema): Markup | undefined {
  if (!isObject(schema.properties)) return undefined;
  const required = Array.isArray(schema.required) ? schema.required : [];
  const fields = Object.entries(schema.properties).map(([name, given]) => {
    const field = isObject(given) ? given : {};
    const nested = field.type === 'object' ? fieldList(field) : undefined;
    return html`<dt><code>${name}</code> <span class="type">${schemaText(field)}${required.includes(name) ? ', required' : ''}</span></dt>
<dd>${typeof field.description === 'string' ? prose(field.description) : undefined}${nested}</dd>`;
  });
  return html`<dl>${fields}</dl>`;
}
