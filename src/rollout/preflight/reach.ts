/** Ways round the tables' policies: views, functions, copies. */
import { ownSchemas } from '../catalog.ts';
import { type Finding, pass, warn } from '../finding.ts';
import { identifier, qualified } from '../identifier.ts';
import {
  definers,
  eventTriggers,
  largeObjects,
  leakyIndexes,
  publications,
  sequences,
  subscribed,
  views,
} from './reach-queries.ts';
import { listed, type Subject } from './subject.ts';

export async function reachFindings(subject: Subject): Promise<Finding[]> {
  return [
    ...(await viewFindings(subject)),
    ...(await definerFindings(subject)),
    ...(await sequenceFindings(subject)),
    ...(await replicationFindings(subject)),
    ...(await eventTriggerFindings(subject)),
    ...(await largeObjectFindings(subject)),
    ...(await leakyIndexFindings(subject)),
  ];
}

const oidsOf = ({ tables }: Subject): number[] => tables.map((table) => table.oid);

/** Postgres' own oids as labels. */
function labelsOf({ tables }: Subject, oids: readonly number[]): string[] {
  return tables.filter((table) => oids.includes(table.oid)).map((table) => table.label);
}

interface ViewRow {
  readonly schema: string;
  readonly name: string;
  readonly materialized: boolean;
  readonly invoker: boolean;
  readonly owner: string;
  readonly bypasses: boolean;
  readonly public: boolean;
  readonly tables: number[];
}

async function viewFindings(subject: Subject): Promise<Finding[]> {
  const { rows } = await subject.client.query<ViewRow>(views, [oidsOf(subject)]);
  return rows.map((view) => {
    const object = qualified(view.schema, view.name);
    const over = listed(labelsOf(subject, view.tables));
    if (view.materialized) {
      const message = `A materialized view holds rows of ${over} for all users, and has no policies${view.public ? '; everybody may read it' : ''}.`;
      const remedy =
        'The plan takes it from PUBLIC. Make it a view, or a table with an owner, for the isolated application.';
      return warn('materialized-view', object, message, remedy);
    }
    if (view.invoker) return pass('view', object, `It reads ${over} with the rights of whoever asks.`);
    const who = view.bypasses ? `${view.owner}, whom no policy binds` : view.owner;
    return warn(
      'view',
      object,
      `It reads ${over} with the rights of its owner, ${who}${view.public ? '; everybody may use it' : ''}.`,
      'The plan takes it from PUBLIC and sets security_invoker at the seal: its readers need the tables by then.',
    );
  });
}

interface DefinerRow {
  readonly schema: string;
  readonly name: string;
  readonly arguments: string;
  readonly owner: string;
  readonly bypasses: boolean;
  readonly public: boolean;
}

async function definerFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<DefinerRow>(definers, [ownSchemas]);
  return rows.map((definer) => {
    const who = definer.bypasses ? `${definer.owner}, whom no policy binds` : definer.owner;
    return warn(
      'security-definer',
      `${qualified(definer.schema, definer.name)}(${definer.arguments})`,
      `It runs as its owner, ${who}${definer.public ? '; everybody may call it' : ''}.`,
      'The plan takes it from PUBLIC. Read what it does before the isolated application may call it.',
    );
  });
}

async function sequenceFindings(subject: Subject): Promise<Finding[]> {
  const { rows } = await subject.client.query<{ schema: string; name: string; feeds: string | null }>(sequences, [
    oidsOf(subject),
  ]);
  return rows.map(({ schema, name, feeds }) =>
    feeds === null
      ? warn(
          'sequence',
          qualified(schema, name),
          'It feeds no column, so that the rollout does not know who needs it.',
          'alter sequence … owned by the column it is for, or grant usage on it to ringfence_app by hand.',
        )
      : pass('sequence', qualified(schema, name), `It feeds ${feeds}.`),
  );
}

async function replicationFindings(subject: Subject): Promise<Finding[]> {
  const { client } = subject;
  const out = await client.query<{ name: string; everything: boolean; tables: number[] }>(publications, [
    oidsOf(subject),
  ]);
  const into = await client.query<{ oid: number }>(subscribed, [oidsOf(subject)]);
  const published = out.rows.map(({ name, everything, tables }) =>
    warn(
      'publication',
      `publication ${identifier(name)}`,
      `It sends the rows of ${everything ? 'every table' : listed(labelsOf(subject, tables))} to subscribers, unfiltered.`,
      "Make sure that the subscribers may see every user's rows; add the owner column there before the rollout.",
    ),
  );
  if (into.rows.length === 0) return published;
  const labels = labelsOf(
    subject,
    into.rows.map((row) => row.oid),
  );
  const message = `Logical replication writes into ${listed(labels)}: it fires no ordinary trigger and is refused by forced policies.`;
  const remedy = 'Run the rollout on the publisher as well, or end the subscription before the owners phase.';
  return [...published, warn('subscription', undefined, message, remedy)];
}

async function eventTriggerFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<{ name: string; event: string; function: string }>(eventTriggers);
  return rows.map(({ name, event, function: called }) =>
    warn(
      'event-trigger',
      `event trigger ${identifier(name)}`,
      `It calls ${called}() at ${event}, and so for the rollout's DDL, with search_path = pg_catalog.`,
      'Make sure that it lets ALTER TABLE, CREATE INDEX and CREATE POLICY pass and has a search_path for what it names, or disable it for the time.',
    ),
  );
}

async function largeObjectFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<{ any: boolean }>(largeObjects);
  if (!rows[0]?.any) return [];
  const remedy =
    'Move them into a bytea column of an owned table, or take the large-object functions from the application.';
  return [warn('large-objects', undefined, 'There are large objects; policies do not reach them.', remedy)];
}

async function leakyIndexFindings(subject: Subject): Promise<Finding[]> {
  const { rows } = await subject.client.query<{ oid: number; name: string; method: string }>(leakyIndexes, [
    oidsOf(subject),
  ]);
  return rows.map(({ oid, name, method }) =>
    warn(
      'leaky-index',
      `${labelsOf(subject, [oid]).join()} ${identifier(name)}`,
      `No operator of this ${method} index is leakproof: under a policy it cannot narrow a search before the owner does.`,
      'Expect these searches to read all rows of one user; measure them for the user with the most rows.',
    ),
  );
}
