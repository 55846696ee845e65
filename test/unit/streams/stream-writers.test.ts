import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TabletPosition } from '../../../src/change/position.ts';
import { STREAM_COLUMNS, StreamStore } from '../../../src/streams/stream-store.ts';
import { StreamSweeper } from '../../../src/streams/stream-sweeper.ts';
import { parseStreamDefinition, type StreamDefinition } from '../../../src/streams/definition.ts';
import { StreamExistsError } from '../../../src/streams/stream-errors.ts';
import { keepingLogger } from '../../support/loggers.ts';
import { MemorySystemTable } from '../../support/memory-system-table.ts';
import { FAULTS, RacingTable, Turns } from '../../support/racing-tables.ts';
import { Random } from '../../support/random.ts';

const { signal } = new AbortController();
const RUNS = 150;
const TEN_MINUTES_MS = 600_000;
const START: TabletPosition = { opId: { term: 1n, index: 7n }, tableName: 'a', schemaVersion: 0 };

function definition(): StreamDefinition {
  const parsed = parseStreamDefinition({ name: 'orders', tables: ['first'], sink: { type: 'kafka', topic: 't' } });
  assert.ok(parsed.kind === 'ok');
  return parsed.definition;
}

/** What was answered, by the generation of the stream that it was answered of. */
interface Answers {
  readonly added: { readonly generation: string; readonly table: string }[];
  readonly removed: { readonly generation: string; readonly table: string }[];
  /** Taken out, or perhaps so. */
  readonly triedToRemove: Set<string>;
  readonly paces: { readonly generation: string; readonly pace: number }[];
  readonly deleted: Set<string>;
}

/** One process that makes, changes and deletes the stream, as often as it is told, until it crashes. */
async function work(store: StreamStore, id: number, calls: number, random: Random, answers: Answers): Promise<void> {
  const mine: string[] = [];
  for (let call = 0; call < calls; call++) {
    const value = id * 1000 + call;
    const table = `t${value}`;
    try {
      switch (random.next(12)) {
        case 0:
        case 1:
          await store.create({ definition: definition(), paused: false }, new Map([['tablet', START]]), [], signal);
          break;
        case 2: {
          const before = await store.get('orders', signal);
          // The one that was there before the call, or one that was made since: only the first is surely gone.
          if ((await store.delete('orders', signal)) && before) mine.push(before.generation);
          for (const generation of mine.splice(0)) {
            const now = await store.get('orders', signal);
            if (now?.generation !== generation) answers.deleted.add(generation);
          }
          break;
        }
        case 3:
          await store.setPaused('orders', random.once(2), signal);
          break;
        case 4:
        case 5:
        case 6: {
          const paced = await store.change(
            'orders',
            (stored) => ({ definition: { ...stored.definition, copyRowsPerSecond: value } }),
            signal,
          );
          if (paced) answers.paces.push({ generation: paced.generation, pace: value });
          break;
        }
        case 7: {
          let gone: string | undefined;
          const changed = await store.change(
            'orders',
            ({ definition: now }) => {
              gone = now.tables.find((name) => name !== 'first');
              if (gone === undefined) return null;
              answers.triedToRemove.add(gone);
              return { definition: { ...now, tables: now.tables.filter((name) => name !== gone) } };
            },
            signal,
          );
          if (changed && gone !== undefined) answers.removed.push({ generation: changed.generation, table: gone });
          break;
        }
        default: {
          const changed = await store.change(
            'orders',
            ({ definition: now }) => ({ definition: { ...now, tables: [...now.tables, table] } }),
            signal,
          );
          if (changed) answers.added.push({ generation: changed.generation, table });
        }
      }
    } catch (error) {
      if (error instanceof StreamExistsError) continue;
      if (!(error instanceof Error) || error.name !== 'CrashError') throw error;
      if (error.message === 'crash' || error.message === '') return;
    }
  }
}

describe('several sidecars that make, change and delete one stream at a time', () => {
  for (const [what, faults] of [
    ['and crash, and whose answers are lost or late', true],
    ['without faults', false],
  ] as const)
    it(`lose no change, bring nothing back, and agree (${what})`, async () => {
      for (let seed = 0; seed < RUNS; seed++) {
        const random = new Random(seed);
        const turns = new Turns(random);
        const table = new MemorySystemTable(STREAM_COLUMNS, 2);
        const faultOf = () => {
          if (!faults) return 'none' as const;
          return random.once(60) ? ('crash' as const) : random.once(8) ? random.pick(FAULTS) : ('none' as const);
        };
        const writers = 2 + random.next(2);
        const answers: Answers = {
          added: [],
          removed: [],
          triedToRemove: new Set(),
          paces: [],
          deleted: new Set(),
        };
        const working: Promise<void>[] = [];
        for (let id = 0; id < writers; id++) {
          const store = new StreamStore(new RacingTable(table, turns, faultOf), keepingLogger());
          working.push(work(store, id, 8, random, answers));
        }
        // Somebody looks all the while: what is gone must not be seen again.
        const watcher = new StreamStore(new RacingTable(table, turns, () => 'none'), keepingLogger());
        const looking = (async () => {
          for (let look = 0; look < 20; look++) {
            const goneBefore = new Set(answers.deleted);
            const [seen] = await watcher.list(signal);
            if (seen) assert.ok(!goneBefore.has(seen.generation), `seed ${seed}: a deleted stream is back`);
            if (seen && !goneBefore.has(seen.generation)) {
              const { starts } = await watcher.details(seen, signal);
              const [now] = await watcher.list(signal);
              if (now?.generation === seen.generation)
                assert.equal(starts.size, 1, `seed ${seed}: a stream without its starts`);
            }
          }
        })();
        await turns.runAll([...working, looking]);
        await Promise.all([...working, looking]);

        const views = await Promise.all([0, 1].map(() => new StreamStore(table, keepingLogger()).list(signal)));
        assert.deepEqual(views[0], views[1], `seed ${seed}`);
        const [last] = views[0]!;
        if (last) {
          const { generation } = last;
          assert.ok(!answers.deleted.has(generation), `seed ${seed}: a deleted stream is back at the end`);
          const of = <T extends { readonly generation: string }>(all: readonly T[]): readonly T[] =>
            all.filter((each) => each.generation === generation);
          const removed = new Set(of(answers.removed).map((each) => each.table));
          for (const { table: name } of of(answers.added))
            if (!answers.triedToRemove.has(name))
              assert.ok(last.definition.tables.includes(name), `seed ${seed}: ${name} is lost`);
          for (const name of removed)
            assert.ok(!last.definition.tables.includes(name), `seed ${seed}: ${name} is back`);
          const paces = of(answers.paces);
          if (paces.length > 0) assert.notEqual(last.definition.copyRowsPerSecond, undefined, `seed ${seed}: no pace`);
        }
        const sweeper = new StreamSweeper(table, keepingLogger());
        for (const atMs of [0, TEN_MINUTES_MS]) await sweeper.sweep(atMs, signal);
        assert.deepEqual(await new StreamStore(table, keepingLogger()).list(signal), views[0], `seed ${seed}: swept`);
        if (!last)
          assert.deepEqual(
            [...new Set(table.rows().map(({ item }) => item.split('/')[0]))].join(),
            table.rows().length > 0 ? 'definition' : '',
            `seed ${seed}: rows are left`,
          );
      }
    });
});
