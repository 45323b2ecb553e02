/** An owner column there is, of text: log-ins, some e-mail addresses in any case, some nobody's, some NULL. */
import type { Shape } from '../shape.ts';

const who = (column: string) => `(select u.id::text from public.members u
  where u.login = ${column} or lower(u.email) = lower(${column}))`;

export const textOwner: Shape = {
  name: 'text owner',
  schemas: ['public'],
  sql: (role) => `
    create table members (id uuid primary key, login text not null unique, email text not null);
    create unique index members_email_key on members (lower(email));
    create table documents (
      id uuid primary key default gen_random_uuid(),
      user_id varchar(120),
      title text not null,
      body text not null default ''
    );
    create index documents_user_idx on documents (user_id);
    create table comments (
      id bigserial primary key,
      document_id uuid not null references documents (id) on delete cascade,
      said text not null
    );
    create index on comments (document_id);
    insert into members select md5('member' || n)::uuid, 'member' || n, 'Member' || n || '@Example.com' from generate_series(1, 20) n;
    insert into documents (id, user_id, title)
      select md5('document' || n)::uuid,
        case when n % 25 = 0 then null when n % 25 = 1 then 'ghost' || n when n % 25 = 2 then '' when n % 3 = 0
          then upper('member' || 1 + n % 20 || '@example.com') else 'member' || 1 + n % 20 end,
        'Document ' || n
      from generate_series(1, 1000) n;
    insert into comments (document_id, said) select md5('document' || 1 + n % 1000)::uuid, 'Comment ' || n from generate_series(1, 1500) n;
    grant select, insert, update, delete on all tables in schema public to ${role};
    grant usage on all sequences in schema public to ${role};
    analyze;
  `,
  users: 'members',
  userId: 'uuid',
  tables: {
    members: { label: 'public.members', key: ['id'], owner: 't.id::text' },
    documents: { label: 'public.documents', key: ['id'], owner: who('t.user_id') },
    comments: {
      label: 'public.comments',
      key: ['id'],
      owner: `(select ${who('d.user_id')} from public.documents d where d.id = t.document_id)`,
    },
  },
  // A rule finds one column of the users' that fits; that there are two is for people to say.
  config: {
    tables: {
      'public.documents': {
        owner: [
          { column: 'user_id', matches: 'login' },
          { column: 'user_id', matches: 'email', ignoreCase: true },
        ],
      },
    },
  },
  reads: [
    `select d.id, d.title from public.documents d join public.members m on d.user_id = m.login where m.id = $1::uuid limit 20`,
    'select count(*) from public.comments',
  ],
  operations: [
    {
      name: 'new member',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const n = hand.next();
        const id = `c0000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
        await hand.insert('members', { id, login: `new${n}`, email: `New${n}@example.com` }, id);
        await hand.insert('documents', { user_id: `new${n}`, title: 'First' }, id);
        await hand.insert('documents', { user_id: `NEW${n}@example.com`, title: 'Second' }, id);
      },
    },
    {
      name: 'new document with comments',
      transaction: true,
      async run(hand) {
        const member = hand.some('members');
        if (!member) return;
        const user_id = hand.random(2) === 0 ? member.login : String(member.email).toUpperCase();
        const document = await hand.insert('documents', { user_id, title: `Made ${hand.next()}` });
        await hand.insert('comments', { document_id: document.id, said: 'One' });
        await hand.insert('comments', { document_id: document.id, said: 'Two' });
      },
    },
    {
      name: "a ghost's document",
      oldOnly: true,
      async run(hand) {
        const user_id = hand.random(2) === 0 ? null : `ghost-w${hand.next()}`;
        await hand.insert('documents', { user_id, title: 'Whose?' }, null);
      },
    },
    {
      name: 'upsert document',
      async run(hand) {
        const document = hand.some('documents');
        if (!document) return;
        await hand.upsert(
          'documents',
          { id: document.id, user_id: document.user_id, title: `Upserted ${hand.next()}` },
          ['id'],
        );
      },
    },
    {
      name: 'save document',
      async run(hand) {
        const document = hand.some('documents');
        if (document) await hand.save('documents', document, { body: `Saved ${hand.next()}` });
      },
    },
    {
      name: 'save comment',
      async run(hand) {
        const comment = hand.some('comments');
        if (comment) await hand.save('comments', comment, { said: `Saved ${hand.next()}` });
      },
    },
    {
      name: 're-parent comment',
      async run(hand) {
        const comment = hand.some('comments');
        const document = hand.some('documents');
        if (comment && document) await hand.update('comments', comment, { document_id: document.id });
      },
    },
    {
      name: 'give document away',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const document = hand.some('documents');
        if (!document) return;
        const [other] = await hand.query('select login from public.members where id = $1::uuid', [hand.other]);
        const given = await hand.update('documents', document, { user_id: other?.login });
        const comments = hand.all('comments', ({ document_id }) => document_id === document.id);
        hand.hand('documents', given, hand.other);
        for (const comment of comments) hand.hand('comments', comment, hand.other);
      },
    },
    {
      name: 'delete comment',
      async run(hand) {
        const comment = hand.some('comments');
        if (comment) await hand.delete('comments', comment);
      },
    },
    {
      name: 'delete document, its comments go',
      async run(hand) {
        const document = hand.some('documents');
        if (!document) return;
        const comments = hand.all('comments', ({ document_id }) => document_id === document.id);
        await hand.delete('documents', document);
        for (const comment of comments) hand.forget('comments', comment);
      },
    },
  ],
  twin: { table: 'documents', changes: () => ({ user_id: null }) },
};
