/** What `verify --deep` found, on one page that somebody can sign. */
import type { Finding } from '../finding.ts';
import { durationText } from '../preflight/amounts.ts';
import type { Block, Page, Section } from '../report/page.ts';
import { closureCounts } from './closure/closure.ts';
import { type Classified, titleOf } from './closure/found.ts';
import { type Declassified, declassifications } from './declassified.ts';
import type { CheckResult, DeepVerification } from './deep.ts';
import { fingerprintHash } from './fingerprint.ts';

export interface PageOptions {
  readonly version: string;
  /** Of the plan in force; null for our own schema. */
  readonly planHash: string | null;
  /** Our own server's database: what it does about what cannot be hidden is said as well. */
  readonly isOwn: boolean;
}

export function deepPage(deep: DeepVerification, { version, planHash, isOwn }: PageOptions): Page {
  const { about, findings } = deep;
  const faults = findings.filter(({ severity }) => severity === 'fail').length;
  const rests = planHash === null ? 'the schema of this release' : `plan ${planHash.slice(0, 12)}`;
  return {
    title: `Isolation of ${about.database}, verified`,
    subtitle: `${about.at.toISOString()}, PostgreSQL ${about.server}, ringfence ${version}, ${rests}`,
    summary:
      faults === 0
        ? 'Everything in reach has a class, the walls are as they should be, and none of what was tried went through.'
        : `${faults} ${faults === 1 ? 'thing has' : 'things have'} to be put right. Do not sign.`,
    sections: [
      ...faultSection(findings),
      { heading: 'What was held against what', blocks: [aboutBlock(deep, version, planHash)] },
      enumerated(deep),
      proved(deep),
      tried(deep),
      hidden(isOwn),
      { heading: 'What this page does not say', blocks: limits(deep).map((text) => ({ kind: 'text', text })) },
      {
        heading: 'Signature',
        blocks: [
          {
            kind: 'text',
            text: 'I have read this page, what is shared and why, what was reviewed, and what cannot be hidden.',
          },
          { kind: 'signature', lines: ['Name', 'For', 'Date', 'Signature'] },
        ],
      },
    ],
  };
}

function faultSection(findings: readonly Finding[]): Section[] {
  const rows = findings
    .filter(({ severity }) => severity !== 'pass')
    .map(({ severity, check, object, message, remedy }) => [
      severity === 'fail' ? 'put right' : 'know of',
      check,
      object ?? '',
      message,
      remedy ?? '',
    ]);
  if (rows.length === 0) return [];
  const columns = ['', 'Check', 'Of what', 'Finding', 'What to do'];
  return [{ heading: 'Findings', blocks: [{ kind: 'table', caption: `${rows.length} in all`, columns, rows }] }];
}

function aboutBlock(deep: DeepVerification, version: string, planHash: string | null): Block {
  const { about, summary, statements, pace } = deep;
  return {
    kind: 'table',
    caption: 'Run this again and compare: the same fingerprint is the same policies, keys, grants and functions',
    columns: ['', ''],
    rows: [
      ['Database', about.database],
      ['PostgreSQL', about.server],
      ['ringfence', version],
      ['Looked at as', `${about.role}${about.superuser ? ', a superuser' : ', no superuser'}`],
      ['Works as', deep.closure?.roles.join(', ') ?? 'not read'],
      ['Plan', planHash ?? 'none: the schema of this release'],
      ['What is expected', about.expectationHash],
      ['Fingerprint', fingerprintHash(deep.fingerprint)],
      [
        'Took',
        `${durationText(summary.milliseconds)}, ${statements} statements, ${pace.statementsPerSecond} a second at most`,
      ],
    ],
  };
}

function enumerated({ closure }: DeepVerification): Section {
  if (closure === null)
    return { heading: 'What was enumerated', blocks: [{ kind: 'text', text: 'Nothing: see the findings.' }] };
  const counts = closureCounts(closure).map(({ kind, owned, shared, denied, unclassified }) => [
    kind,
    ...[owned, shared, denied, unclassified].map(String),
  ]);
  const reached = closure.objects.filter((one) => one.class === 'owned' || one.class === 'shared');
  return {
    heading: 'What was enumerated',
    blocks: [
      {
        kind: 'text',
        text: 'Owned: leads to the asker’s own rows alone. Shared: leads to nobody’s rows, or to what is declared to be everybody’s. Denied: out of reach. Operators, casts and types reach what their functions reach, and these are listed.',
      },
      {
        kind: 'table',
        caption: 'Objects of the catalogue, by what they lead to',
        columns: ['Kind', 'Owned', 'Shared', 'Denied', 'Unclassified'],
        rows: counts,
      },
      {
        kind: 'table',
        caption: 'All that the application’s roles can reach',
        columns: ['What', 'Class', 'Privileges', 'Why'],
        rows: reachedRows(reached),
      },
    ],
  };
}

/** An extension's objects as one line: there may be a thousand, and one reason. */
function reachedRows(reached: readonly Classified[]): string[][] {
  const single = reached.filter(({ extension }) => extension === null);
  const bundled = Map.groupBy(
    reached.filter(({ extension }) => extension !== null),
    ({ extension, reason }) => `extension ${extension}\0${reason}`,
  );
  return [
    ...single.map((one) => [titleOf(one), one.class, one.privileges.join(', '), one.reason]),
    ...[...bundled].map(([key, group]) => {
      const [name = '', reason = ''] = key.split('\0');
      return [name, 'shared', `${group.length} objects`, reason];
    }),
  ];
}

function proved({ checks, summary }: DeepVerification): Section {
  const state = ({ findings }: CheckResult) => {
    const faults = findings.filter(({ severity }) => severity === 'fail').length;
    return faults > 0 ? `${faults} to put right` : findings.length > 0 ? `${findings.length} to know of` : 'so';
  };
  return {
    heading: 'What was proved',
    blocks: [
      {
        kind: 'text',
        text: `From the catalogue and the rows of ${summary.tables} tables and partitions. A policy is proved by being the one allowed, as Postgres gives it back; there is no third answer.`,
      },
      {
        kind: 'table',
        caption: 'Each check, and what is so when it finds no fault',
        columns: ['Check', 'What is so', 'Found', 'Time'],
        rows: checks.map((one) => [one.name, one.holds, state(one), durationText(one.milliseconds)]),
      },
    ],
  };
}

function tried({ sample, summary }: DeepVerification): Section {
  const attacks = [...sample.attacks.values()].toSorted((a, b) => (a.attack < b.attack ? -1 : 1));
  const drawn = sample.possible > sample.attempts ? `, drawn evenly from ${sample.possible} that there are` : '';
  const blocks: Block[] = [
    {
      kind: 'text',
      text: `${summary.probes} probes on ${summary.probedTables} tables with rows of real users: as one of them, as nobody, with forged identities (${summary.emptyTables} tables had no row, so that only adding one could be tried). All were rolled back.`,
    },
    {
      kind: 'text',
      text:
        sample.refusal === null
          ? `${sample.attempts} hostile statements on ${sample.tables} tables${drawn}, by a synthetic attacker with his own identity, against a synthetic victim whose rows hold marks; both in a transaction that was rolled back. No mark may come back in a row, message or notice, in any encoding, and the victim’s rows may not change.`
          : `The hostile sample was not tried: ${sample.refusal}.`,
    },
  ];
  if (attacks.length > 0) {
    blocks.push({
      kind: 'table',
      caption: 'Attacks. Refused: Postgres said no. The others were answered, without anything of the victim’s',
      columns: ['Attack', 'Tried', 'Refused', 'Undecided', 'Went through'],
      rows: attacks.map((one) => [one.attack, ...[one.tried, one.refused, one.undecided, one.faults].map(String)]),
    });
  }
  if (sample.unplanted.length > 0) {
    blocks.push({
      kind: 'table',
      caption: 'Tables that could be given no synthetic row, and were not attacked',
      columns: ['Table', 'Why'],
      rows: sample.unplanted.map(({ table, reason }) => [table, reason]),
    });
  }
  return { heading: 'What was tried', blocks };
}

function hidden(isOwn: boolean): Section {
  const list: readonly Declassified[] = declassifications;
  return {
    heading: 'What cannot be hidden',
    blocks: [
      {
        kind: 'text',
        text: 'Whoever can run SQL of his own as the application can learn this of others, because stock Postgres shows it to every role. None of it is a row’s content.',
      },
      {
        kind: 'table',
        caption: 'Declassified',
        columns: ['What', 'What is learnt', 'Why', 'What reduces it'],
        rows: list.map(({ name, learnt, why, reduce, here }) => [
          name,
          learnt,
          why,
          isOwn && here ? `${reduce} ${here}` : reduce,
        ]),
      },
    ],
  };
}

function limits({ about, reviewed, sample }: DeepVerification): string[] {
  const others = about.otherDatabases;
  return [
    'It is of this database as it was at that moment. `ringfence monitor` tells of a change of what the fingerprint covers.',
    'It says nothing of the application’s code: of whom it acts for, caches, logs, exports and files. Nor of backups, replicas and subscribers.',
    'It is a sample of attacks, not a proof over all statements; the project’s own proof runs many more on databases of its own.',
    'SET ROLE and SET SESSION AUTHORIZATION were not tried, since Postgres asks who has logged in: what the application’s roles can become is enumerated instead.',
    'A reference to the users’ own table tells whether there is a user of that id: that table keeps its key.',
    ...(others.length > 0
      ? [
          `The application’s role may connect to ${others.length} other databases of the cluster (${others.slice(0, 10).join(', ')}${others.length > 10 ? ', …' : ''}), where nobody looked.`,
        ]
      : []),
    ...(Object.keys(reviewed).length > 0
      ? ['What is “reviewed” above rests on the word of who wrote --reviewed.']
      : []),
    ...(sample.tables === 0 && sample.refusal === null ? ['No table could be attacked in the sample.'] : []),
  ];
}
