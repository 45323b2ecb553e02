/** Keys of two and three columns, references on them, and tenants whose ids are UUIDs. */
import type { Shape } from '../shape.ts';

const account = (n: string) => `('a0000000-0000-4000-8000-' || lpad((${n})::text, 12, '0'))::uuid`;

export const compositeKeys: Shape = {
  name: 'composite keys',
  schemas: ['public'],
  sql: (role) => `
    create table accounts (id uuid primary key, name text not null);
    create table warehouses (
      account_id uuid not null references accounts (id),
      code varchar(12) not null,
      city text not null default '',
      primary key (account_id, code)
    );
    create table shelves (
      account_id uuid not null,
      warehouse varchar(12) not null,
      number integer not null,
      label text,
      constraint shelves_pkey primary key (account_id, warehouse, number),
      constraint shelves_warehouse_fkey foreign key (account_id, warehouse) references warehouses (account_id, code)
        on update cascade on delete cascade
    );
    -- Keyed without the account; its shelf alone tells whose it is.
    create table items (
      sku text not null,
      lot integer not null,
      shelf_account uuid,
      shelf_warehouse varchar(12),
      shelf_number integer,
      quantity integer not null default 0,
      primary key (sku, lot),
      constraint items_shelf_fkey foreign key (shelf_account, shelf_warehouse, shelf_number)
        references shelves (account_id, warehouse, number) match full on update cascade
    );
    create index items_shelf_idx on items (shelf_account, shelf_warehouse, shelf_number);
    create table movements (
      sku text not null,
      lot integer not null,
      sequence integer not null,
      change integer not null,
      constraint movements_pkey primary key (sku, lot, sequence),
      constraint movements_item_fkey foreign key (sku, lot) references items (sku, lot)
        on delete cascade deferrable initially deferred
    );
    insert into accounts select ${account('n')}, 'Account ' || n from generate_series(1, 16) n;
    insert into warehouses select ${account('1 + n % 16')}, 'W' || n / 16, 'City' from generate_series(0, 47) n;
    insert into shelves select account_id, code, n, 'Shelf ' || n from warehouses, generate_series(1, 6) n;
    insert into items
      select 'SKU-' || n % 50, n / 50, s.account_id, s.warehouse, s.number, n
      from generate_series(0, 799) n
      join (select *, row_number() over (order by account_id, warehouse, number) - 1 as at from shelves) s on s.at = n % 288;
    insert into movements select sku, lot, n, n from items, generate_series(1, 2) n;
    grant select, insert, update, delete on all tables in schema public to ${role};
    analyze;
  `,
  users: 'accounts',
  userId: 'uuid',
  tables: {
    accounts: { label: 'public.accounts', key: ['id'], owner: 't.id::text' },
    warehouses: { label: 'public.warehouses', key: ['account_id', 'code'], owner: 't.account_id::text' },
    shelves: { label: 'public.shelves', key: ['account_id', 'warehouse', 'number'], owner: 't.account_id::text' },
    items: { label: 'public.items', key: ['sku', 'lot'], owner: 't.shelf_account::text' },
    movements: {
      label: 'public.movements',
      key: ['sku', 'lot', 'sequence'],
      owner: '(select i.shelf_account::text from public.items i where i.sku = t.sku and i.lot = t.lot)',
    },
  },
  config: {},
  reads: [
    `select i.sku, i.lot, i.quantity from public.items i where i.shelf_account = $1::uuid order by sku, lot limit 20`,
    `select sum(m.change) from public.movements m join public.items i using (sku, lot) where i.shelf_account = $1::uuid`,
  ],
  operations: [
    {
      name: 'new account',
      oldOnly: true,
      transaction: true,
      async run(hand) {
        const id = `b0000000-0000-4000-8000-${String(hand.next()).padStart(12, '0')}`;
        await hand.insert('accounts', { id, name: 'New' }, id);
        await hand.insert('warehouses', { account_id: id, code: 'W0' }, id);
        await hand.insert('shelves', { account_id: id, warehouse: 'W0', number: 1 }, id);
      },
    },
    {
      name: 'movement before its item, in one transaction',
      transaction: true,
      async run(hand) {
        const shelf = hand.some('shelves');
        if (!shelf) return;
        const lot = hand.next();
        // The reference is deferred, so the old application may write the child first; its owner is known at the end.
        const item = {
          sku: 'NEW',
          lot,
          shelf_account: shelf.account_id,
          shelf_warehouse: shelf.warehouse,
          shelf_number: shelf.number,
        };
        await hand.insert('movements', { sku: 'NEW', lot, sequence: 1, change: 1 });
        await hand.insert('items', item);
      },
    },
    {
      name: 'new shelf',
      async run(hand) {
        const warehouse = hand.some('warehouses');
        if (!warehouse) return;
        const { account_id, code } = warehouse;
        await hand.insert('shelves', { account_id, warehouse: code, number: 1000 + hand.next(), label: null });
      },
    },
    {
      name: 'upsert movement',
      async run(hand) {
        const item = hand.some('items');
        if (!item) return;
        const { sku, lot } = item;
        await hand.upsert('movements', { sku, lot, sequence: hand.random(4), change: hand.next() }, [
          'sku',
          'lot',
          'sequence',
        ]);
      },
    },
    {
      name: 'save item',
      async run(hand) {
        const item = hand.some('items');
        if (item) await hand.save('items', item, { quantity: hand.next() });
      },
    },
    {
      name: 'save shelf',
      async run(hand) {
        const shelf = hand.some('shelves');
        if (shelf) await hand.save('shelves', shelf, { label: `Saved ${hand.next()}` });
      },
    },
    {
      name: 'move item',
      async run(hand) {
        const item = hand.some('items');
        const shelf = hand.some('shelves');
        if (!item || !shelf) return;
        await hand.update('items', item, { shelf_warehouse: shelf.warehouse, shelf_number: shelf.number });
      },
    },
    {
      name: 'rename warehouse, its shelves and their items follow',
      oldOnly: true,
      async run(hand) {
        const warehouse = hand.some('warehouses');
        if (!warehouse) return;
        const code = `R${hand.next()}`;
        const shelves = hand.all('shelves', (shelf) => shelf.warehouse === warehouse.code);
        const items = hand.all('items', (item) => item.shelf_warehouse === warehouse.code);
        await hand.update('warehouses', warehouse, { code });
        for (const shelf of shelves) {
          hand.forget('shelves', shelf);
          hand.note('shelves', { ...shelf, warehouse: code });
        }
        for (const item of items) hand.note('items', { ...item, shelf_warehouse: code });
      },
    },
    {
      name: 'delete movement',
      async run(hand) {
        const movement = hand.some('movements');
        if (movement) await hand.delete('movements', movement);
      },
    },
    {
      name: 'delete item, its movements go',
      async run(hand) {
        const item = hand.some('items');
        if (!item) return;
        const movements = hand.all('movements', ({ sku, lot }) => sku === item.sku && lot === item.lot);
        await hand.delete('items', item);
        for (const movement of movements) hand.forget('movements', movement);
      },
    },
  ],
  twin: {
    table: 'items',
    changes: () => ({ shelf_account: null, shelf_warehouse: null, shelf_number: null }),
  },
};
