import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RowOp } from '../../../src/change/change.ts';
import { defaultToJson } from '../../../src/formats/json-cells.ts';
import { jsonLayout, type JsonFormatDefinition, type JsonLayout } from '../../../src/formats/json-definition.ts';
import type { Images } from '../../../src/formats/envelope-row.ts';
import { flatDecoder } from '../../../src/formats/json-flat-decode.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { DataType, type ColumnSchema } from '../../../src/kudu/schema.ts';
import { verify } from '../../../src/verify/verify.ts';
import { TableFold } from '../../support/fold.ts';
import { MemoryTables, MemoryTopics } from '../../support/memory-verify.ts';
import { RecordHistory } from '../../support/record-history.ts';
import { column, float64, int32, int64, type TestCell } from '../../support/row-bytes.ts';

/** What befalls a table of a few rows. */
type Event =
  | {
      readonly kind: 'write';
      readonly op: RowOp;
      readonly id: number;
      readonly values: readonly (number | null | undefined)[];
    }
  | { readonly kind: 'alter'; readonly how: 'add' | 'drop' | 'rename-column' | 'rename-table'; readonly seed: number }
  | { readonly kind: 'copy'; readonly tablet: number };

const TABLETS = ['tablet0', 'tablet1'];
const write = fc.record({
  kind: fc.constant('write' as const),
  op: fc.constantFrom(...Object.values(RowOp)),
  id: fc.integer({ min: 0, max: 5 }),
  values: fc.array(fc.constantFrom<(number | null | undefined)[]>(null, undefined, 0, -0, 1, 2, 3), {
    minLength: 12,
    maxLength: 12,
  }),
});
const alter = fc.record({
  kind: fc.constant('alter' as const),
  how: fc.constantFrom('add' as const, 'drop' as const, 'rename-column' as const, 'rename-table' as const),
  seed: fc.nat(100),
});
const copy = fc.record({ kind: fc.constant('copy' as const), tablet: fc.nat(1) });
const events = fc.array(
  fc.oneof({ weight: 12, arbitrary: write }, { weight: 1, arbitrary: alter }, { weight: 1, arbitrary: copy }),
  { minLength: 5, maxLength: 80, size: 'max' },
);

class Play {
  readonly topics: MemoryTopics;
  readonly tables = new MemoryTables();
  readonly history: RecordHistory;
  readonly images: Images;
  readonly layout: JsonLayout;
  #columns = 2;

  constructor(template: string, images: Images = 'changed', format: Omit<JsonFormatDefinition, 'type'> = {}) {
    this.images = images;
    this.layout = jsonLayout({ type: 'json', ...format });
    this.topics = new MemoryTopics(template);
    const columns = [
      column('id', DataType.INT64, { isKey: true, id: 0 }),
      column('c1', DataType.INT32, { nullable: true, id: 1 }),
      column('c2', DataType.DOUBLE, { nullable: true, id: 2, immutable: true }),
      column('at', DataType.UNIXTIME_MICROS, { nullable: true, id: 1001 }),
      column('sum', DataType.DECIMAL64, { nullable: true, id: 1002, precision: 12, scale: 2 }),
      column('blob', DataType.BINARY, { nullable: true, id: 1003 }),
    ];
    this.history = new RecordHistory({
      tableId: 'table',
      name: 'table',
      schema: { columns },
      images,
      layout: this.layout,
    });
    this.tables.histories.push({ history: this.history, tabletIds: TABLETS });
    this.topics.put(this.history.begin(TABLETS[0]!));
  }

  play(event: Event): void {
    const { history, topics } = this;
    if (event.kind === 'copy') {
      const { announced, rows } = history.copy(TABLETS[event.tablet]!);
      topics.put([...announced, ...rows]);
    } else if (event.kind === 'alter') this.#alter(event.how, event.seed);
    else {
      const { op, id, values } = event;
      const isUpdate = op === RowOp.UPDATE || op === RowOp.UPDATE_IGNORE;
      const cells = history.schema.columns.map(({ type, isKey, immutable }, place): TestCell => {
        if (isKey) return int64(BigInt(id));
        const value = immutable && (isUpdate || op === RowOp.UPSERT) ? undefined : values[place % values.length];
        if (value === undefined || value === null) return value;
        if (type === DataType.DOUBLE) return float64(value === 3 ? NaN : value);
        if (type === DataType.BINARY) return Buffer.from(String(value));
        return type === DataType.INT32 ? int32(value) : int64(BigInt(value) * 1_234_567n);
      });
      topics.put(history.write(TABLETS[id % 2]!, op, cells));
    }
  }

  /** Names never come back, so that it is plain which version a record was written under. */
  #alter(how: Extract<Event, { kind: 'alter' }>['how'], seed: number): void {
    const { history, topics } = this;
    const { columns } = history.schema;
    const place = 1 + (seed % Math.max(1, columns.length - 1));
    const fresh = `c${++this.#columns}`;
    const of = (changed: readonly ColumnSchema[]): { schema: { columns: readonly ColumnSchema[] } } => ({
      schema: { columns: changed },
    });
    history.sleep(100);
    const added = column(fresh, DataType.INT32, {
      id: this.#columns,
      nullable: true,
      readDefault: int32(seed),
      writeDefault: int32(seed),
    });
    const after =
      how === 'rename-table'
        ? { name: fresh }
        : how === 'add' || columns.length === 1
          ? of([...columns, added])
          : how === 'drop'
            ? of(columns.toSpliced(place, 1))
            : of(columns.map((each, i) => (i === place ? { ...each, name: fresh } : each)));
    topics.put(history.alter(TABLETS[seed % 2]!, after));
    history.sleep(100);
  }

  /** What verify says, a word a row. */
  async verify(): Promise<string[]> {
    const found: string[] = [];
    await verify(
      {
        stream: () => Promise.resolve(this.tables.view(['*'])),
        reader: this.tables,
        sink: this.topics,
        decoder:
          this.layout.envelope === 'flat' ? flatDecoder(this.layout) : jsonDecoder('s', this.images, this.layout),
        systemTablePrefix: 'spoor.',
        timeoutMs: 100,
        progress: () => undefined,
        at: null,
        tableNames: null,
        report: ({ kind, key }) => found.push(`${kind} ${key[0]!.value}`),
        reportUnreadable: ({ reason }) => found.push(reason),
        reportRepeated: () => undefined,
        allowsRepeats: true,
        bufferBytes: 2000,
        readAgainMs: 1,
      },
      AbortSignal.timeout(30_000),
    );
    return found.sort();
  }

  /** What the fold of the tests says. @throws {Error} records that it does not take */
  fold(): string[] {
    const fold = new TableFold({ lenient: true, hasWholeImages: this.images !== 'changed' });
    for (const { value } of this.topics.records.get('schemas')!.flat()) fold.addSchema(value!);
    for (const [lane, records] of (this.topics.records.get('cdc') ?? []).entries())
      for (const { key, value, position } of records) fold.push({ key: key!, value, position: position! }, lane);
    const { columns } = this.history.schema;
    const dump = [...this.history.rows.values()].map(({ cells }) => {
      const texts = columns.map((each) => {
        const known = cells.get(each.id!);
        const cell = known === undefined ? each.readDefault : known;
        return `"${each.name}":${cell === null ? 'null' : defaultToJson(each, cell).toString()}`;
      });
      return `{${texts.join()}}`;
    });
    const kinds: Record<string, string> = { missing: 'missing', different: 'different', 'left over': 'extra' };
    const found = fold.compare(dump, 1000).differences.map((line) => {
      const [, kind, rest] = /^([a-z ]+): (.*)$/.exec(line)!;
      return `${kinds[kind!]!} ${/^\{"id":(\d+)/.exec(rest!)?.[1] ?? rest!.split(' ', 1)[0]!}`;
    });
    return [...new Set(found)].sort();
  }
}

const imagesOfAny = fc.constantFrom<Images[]>('after', 'full', 'changed');

describe('verify and the fold of the tests', () => {
  it('find nothing on a sound stream, whatever befell the table, in one topic or in several, with any images', async () => {
    await fc.assert(
      fc.asyncProperty(events, fc.constantFrom('cdc', 'cdc.{table}'), imagesOfAny, async (all, template, kind) => {
        const play = new Play(template, kind);
        for (const event of all) play.play(event);
        assert.deepEqual(await play.verify(), []);
        if (template === 'cdc') assert.deepEqual(play.fold(), []);
      }),
      { numRuns: 300 },
    );
  });

  it('find nothing either where records have their schemas, times are texts or milliseconds, and NaN is null', async () => {
    const formats = fc.constantFrom<Omit<JsonFormatDefinition, 'type'>[]>(
      { schema: 'block', decimals: 'precise', time: 'isostring', binary: 'hex' },
      { schema: 'block', decimals: 'double', time: 'connect' },
      { decimals: 'precise', time: 'connect', nonFinite: 'null' },
    );
    await fc.assert(
      fc.asyncProperty(events, formats, imagesOfAny, async (all, format, images) => {
        const play = new Play('cdc', images, format);
        for (const event of all) play.play(event);
        assert.deepEqual(await play.verify(), []);
      }),
      { numRuns: 100 },
    );
  });

  it('find nothing either where records are the rows themselves, in one topic or in several', async () => {
    const formats = fc.constantFrom<Omit<JsonFormatDefinition, 'type'>[]>(
      { envelope: 'flat' },
      { envelope: 'flat', schema: 'block', time: 'connect' },
    );
    const images = fc.constantFrom<Images[]>('after', 'full');
    const topics = fc.constantFrom('cdc', 'cdc.{table}');
    await fc.assert(
      fc.asyncProperty(events, formats, images, topics, async (all, format, kind, template) => {
        const play = new Play(template, kind, format);
        for (const event of all) play.play(event);
        assert.deepEqual(await play.verify(), []);
      }),
      { numRuns: 200 },
    );
  });

  it('calls no row wrong where schemas are lost: what it cannot read for that it says to be so', async () => {
    let read = 0;
    await fc.assert(
      fc.asyncProperty(events, fc.infiniteStream(fc.boolean()), imagesOfAny, async (all, isLost, images) => {
        const play = new Play('cdc', images);
        for (const event of all) play.play(event);
        const kept = play.topics.records.get('schemas')!.map((lane) => lane.filter(() => !isLost.next().value));
        play.topics.records.set('schemas', kept);
        const found = await play.verify();
        assert.deepEqual(
          found.filter((line) => !line.startsWith('no known schema version has its ')),
          [],
        );
        if (found.length === 0) read++;
      }),
      { numRuns: 300 },
    );
    assert.ok(read > 100, String(read));
  });

  it('find the same rows wrong when an old record comes again, and when one is lost', async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(events, fc.nat(), fc.boolean(), imagesOfAny, async (all, which, isLost, images) => {
        const play = new Play('cdc', images);
        for (const event of all) play.play(event);
        const rows = (play.topics.records.get('cdc') ?? []).flatMap((lane) =>
          lane.filter(({ value }) => value !== null),
        );
        const record = rows[which % Math.max(1, rows.length)];
        if (!record) return;
        const { topic, partition, key, value, position } = record;
        const lane = play.topics.records.get(topic)![partition]!;
        if (isLost) lane.splice(lane.indexOf(record), 1);
        else play.topics.produce(topic, partition, { key, value, position });
        let folded: string[];
        try {
          folded = play.fold();
        } catch {
          return; // a record of an older version behind newer ones
        }
        // A tombstone that lost its delete removes a row here, as it does in a compacted topic, and not there.
        if (isLost && value!.toString().startsWith('{"op":"d"')) return;
        compared++;
        // The fold of the tests does not look at it.
        const found = (await play.verify()).filter((line) => !line.startsWith('before '));
        assert.deepEqual(found, folded);
      }),
      { numRuns: 300 },
    );
    assert.ok(compared > 100, String(compared));
  });
});
