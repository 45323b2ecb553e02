/** Names for operations and schemas, taken from method and path: `GET /api/projects/:id` is readProject, a Project. */

export interface RouteName {
  readonly method: string;
  /** As Fastify has it, `/api/projects/:id`. */
  readonly url: string;
  /** Whether it answers with a page of a list. */
  readonly isList: boolean;
  /** Whether it answers 201. */
  readonly creates: boolean;
}

export function operationId({ method, url, isList, creates }: RouteName): string {
  const segments = segmentsOf(url);
  const last = segments.at(-1);
  const lastIsStatic = last !== undefined && !last.startsWith(':');
  if (method === 'POST' && lastIsStatic && !creates) return camel(last) + words(segments.slice(0, -1), 'singular');
  const verbs: Readonly<Record<string, string>> = {
    GET: isList ? 'list' : 'read',
    POST: 'create',
    PUT: 'replace',
    PATCH: 'change',
    DELETE: 'remove',
  };
  const verb = verbs[method] ?? method.toLowerCase();
  return verb + words(segments, isList ? 'last plural' : method === 'GET' ? 'as it is' : 'singular');
}

/** What a route answers with: the thing that its path names. */
export function resourceName(url: string): string {
  return words(segmentsOf(url), 'singular');
}

/** What a list holds, whichever path leads to it; undefined when the path does not end in what there are several of. */
export function itemName(url: string): string | undefined {
  const last = segmentsOf(url).findLast((segment) => !segment.startsWith(':')) ?? '';
  return singular(last) === last ? undefined : pascal(singular(last));
}

function segmentsOf(url: string): string[] {
  return url.split('/').filter((segment) => segment !== '' && segment !== 'api' && segment !== '*');
}

type Number = 'singular' | 'last plural' | 'as it is';

function words(segments: readonly string[], number: Number): string {
  return segments
    .map((segment, at) => {
      if (segment.startsWith(':')) return '';
      const isLast = at === segments.length - 1;
      // `/projects/:id/branches` is about one project; `/admin/system/tasks` names no single one.
      const ofOne = segments[at + 1]?.startsWith(':') === true || (isLast && number === 'singular');
      return pascal(ofOne ? singular(segment) : segment);
    })
    .join('');
}

function singular(word: string): string {
  if (/(ss|us)$/.test(word)) return word;
  if (word.endsWith('ies')) return `${word.slice(0, -3)}y`;
  return word.replace(/(?<=ch|sh|x)es$|s$/, '');
}

function pascal(text: string): string {
  return text.replaceAll(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function camel(text: string): string {
  const name = pascal(text);
  return name.charAt(0).toLowerCase() + name.slice(1);
}
