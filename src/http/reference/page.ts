/**
 * The reference page: the OpenAPI document as one HTML page that needs nothing else, neither a script nor another
 * server. Every description comes from the document.
 */
import { createHash } from 'node:crypto';
import { html, Markup, prose } from './markup.ts';
import type { OpenApiDocument, Operation } from './openapi.ts';
import { fieldList, schemaText } from './schema-text.ts';
import { isObject, type JsonSchema } from './schemas.ts';
import { style } from './style.ts';

/** Lets the page's own style in, and nothing else (CSP level 3, §2.3.1). */
export const styleSource = `'sha256-${createHash('sha256').update(style).digest('base64')}'`;

interface Entry {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

export function referencePage(document: OpenApiDocument): string {
  const entries = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  );
  const groups = document.tags.map(({ name }) => ({
    name,
    entries: entries.filter(({ operation }) => operation.tags[0] === name),
  }));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ringfence: reference</title>
<style>${new Markup(style)}</style>
</head>
<body>
<a class="skip" href="#operations">Go to the operations</a>
<header>
<h1>ringfence <small>${String(document.info.version)}</small></h1>
${prose(String(document.info.description))}
<p>For programs: <a href="/openapi.json">openapi.json</a> (OpenAPI ${document.openapi}).</p>
</header>
<nav aria-label="Contents">
<h2>Contents</h2>
${groups.map(({ name, entries: members }) => contents(name, members))}
<p><a href="#schemas">Schemas</a></p>
</nav>
<main id="operations">
${groups.map(({ name, entries: members }) => html`<section aria-labelledby="${tagId(name)}"><h2 id="${tagId(name)}">${name}</h2>${members.map((entry) => article(entry, document))}</section>`)}
<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>
${Object.entries(document.components.schemas).map(([name, schema]) => schemaArticle(name, schema))}
</section>
</main>
</body>
</html>
`;
  return page.text;
}

function tagId(name: string): string {
  return `tag-${name.replaceAll(/\W+/g, '-')}`;
}

function contents(name: string, entries: readonly Entry[]): Markup {
  const items = entries.map(
    ({ operation }) =>
      html`<li><a href="#${operation.operationId}">${operation.summary || operation.operationId}</a></li>`,
  );
  return html`<details><summary>${name}</summary><ul><li><a href="#${tagId(name)}">All of ${name}</a></li>${items}</ul></details>`;
}

/** The address is inside the folded part: browsers unfold what a link leads into. */
function article({ method, path, operation }: Entry, document: OpenApiDocument): Markup {
  return html`<article><details>
<summary><span class="method ${method}">${method.toUpperCase()}</span><span class="path">${path}</span><span class="what">${operation.summary}</span></summary>
<div id="${operation.operationId}">
${operation.description === undefined ? undefined : prose(operation.description)}
<p class="note">${accessText(operation)}</p>
${parameterList(operation, document)}
${body(operation, document)}
<h4>Answers</h4>${answers(operation, document)}
<h4>Example</h4><pre><code>${example(method, path, operation)}</code></pre>
</div></details></article>`;
}

function accessText({ security }: Operation): string {
  const [scope] = security.flatMap((requirement) => (Array.isArray(requirement.bearer) ? requirement.bearer : []));
  if (scope === undefined) return 'Open: no token is needed.';
  if (scope === 'admin') return 'Needs a token of an administrator.';
  return `Needs a token with the scope “${scope}”.`;
}

function parameterList({ parameters }: Operation, document: OpenApiDocument): Markup | undefined {
  if (parameters.length === 0) return undefined;
  const items = parameters.map((given) => {
    const parameter = referred(given, document.components.parameters);
    const schema = isObject(parameter.schema) ? parameter.schema : {};
    const needed = parameter.required === true ? ', required' : '';
    return html`<dt><code>${String(parameter.name)}</code> <span class="type">in ${String(parameter.in)}${needed}</span></dt>
<dd>${typeof parameter.description === 'string' ? prose(parameter.description) : undefined}<p class="type">${schemaText(schema)}</p></dd>`;
  });
  return html`<h4>Parameters</h4><dl>${items}</dl>`;
}

function body({ requestBody }: Operation, document: OpenApiDocument): Markup | undefined {
  if (requestBody === undefined) return undefined;
  const [, schema] = contentOf(requestBody);
  return html`<h4>Body</h4><p>${schemaText(schema)}${requestBody.required === true ? '' : ' (may be left out)'}</p>${fieldList(referred(schema, document.components.schemas))}`;
}

/** What an operation is for stands first; how it refuses is much the same everywhere, and folded away. */
function answers({ responses }: Operation, document: OpenApiDocument): Markup {
  const [good, refused] = [true, false].map((isGood) =>
    Object.entries(responses)
      .filter(([status]) => status.startsWith('2') === isGood)
      .map(([status, answer]) => response(status, answer, document)),
  );
  return html`<dl>${good}</dl><details class="refusals"><summary>Refusals</summary><dl>${refused}</dl></details>`;
}

function response(status: string, given: JsonSchema, document: OpenApiDocument): Markup {
  const answer = referred(given, document.components.responses);
  const [type, schema] = contentOf(answer);
  const shape = type === '' ? undefined : html`<p class="type">${schemaText(schema)} <code>${type}</code></p>`;
  return html`<dt><code>${status}</code></dt><dd>${prose(String(answer.description))}${shape}</dd>`;
}

function contentOf(holder: JsonSchema): [string, JsonSchema] {
  const [first] = Object.entries(isObject(holder.content) ? holder.content : {});
  if (first === undefined) return ['', {}];
  return [first[0], isObject(first[1]) && isObject(first[1].schema) ? first[1].schema : {}];
}

function referred(given: JsonSchema, components: Record<string, unknown>): JsonSchema {
  const name = typeof given.$ref === 'string' ? given.$ref.split('/').at(-1) : undefined;
  const found = name === undefined ? given : components[name];
  return isObject(found) ? found : given;
}

function example(method: string, path: string, operation: Operation): string {
  const token = operation.security.length === 0 ? '' : ` \\\n  -H "Authorization: Bearer $TOKEN"`;
  const data = operation.requestBody === undefined ? '' : ` \\\n  -H "Content-Type: application/json" -d '{…}'`;
  return `curl -X ${method.toUpperCase()} "$URL${path}"${token}${data}`;
}

function schemaArticle(name: string, schema: unknown): Markup {
  const known = isObject(schema) ? schema : {};
  return html`<article><details><summary><span class="path">${name}</span></summary><div id="schema-${name}">
<p class="type">${schemaText(known)}</p>${fieldList(known)}</div></details></article>`;
}
