import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RowOp } from '../../../src/change/change.ts';
import type { RecordDecoder } from '../../../src/formats/decoder.ts';
import { jsonLayout } from '../../../src/formats/json-definition.ts';
import { flatDecoder } from '../../../src/formats/json-flat-decode.ts';
import { jsonDecoder } from '../../../src/formats/json-decode.ts';
import { DataType, type TableSchema } from '../../../src/kudu/schema.ts';
import type { StreamView } from '../../../src/api/shapes.ts';
import type { Difference, RepeatedRow } from '../../../src/verify/comparison.ts';
import {
  differenceToJson,
  differenceToText,
  repeatedToText,
  skippedToJson,
  skippedToText,
  summaryToJson,
  summaryToText,
  unreadableToText,
} from '../../../src/verify/report.ts';
import type { UnreadableRecord } from '../../../src/verify/stored-records.ts';
import { ScanDisturbedError } from '../../../src/verify/table-rows.ts';
import { StreamUnavailableError } from '../../../src/verify/verify-error.ts';
import { isSound, verify, type VerifyOptions, type VerifyResult } from '../../../src/verify/verify.ts';
import { MemoryTables, MemoryTopics } from '../../support/memory-verify.ts';
import { RecordHistory } from '../../support/record-history.ts';
import { column, int32, int64 } from '../../support/row-bytes.ts';

const KEY = column('id', DataType.INT64, { isKey: true, id: 10 });
const A = column('a', DataType.INT32, { nullable: true, id: 11 });
const NOTE = column('note', DataType.STRING, { nullable: true, id: 12 });
const SCHEMA: TableSchema = { columns: [KEY, A, NOTE] };
const TABLETS = ['tablet0', 'tablet1'];
const BIG = 2n ** 53n + 1n;

interface Verified {
  readonly result: VerifyResult;
  readonly differences: readonly Difference[];
  readonly unreadable: readonly UnreadableRecord[];
  readonly repeated: readonly RepeatedRow[];
  readonly lines: readonly string[];
}

/** A stream of one table or more, all of it shipped. */
class Scene {
  readonly tables = new MemoryTables();
  readonly topics: MemoryTopics;
  view: () => StreamView = () => this.tables.view(['*']);

  constructor(template?: string) {
    this.topics = new MemoryTopics(template);
  }

  table(name: string, tableId = name, tabletIds = TABLETS.map((id) => `${tableId}-${id}`)): RecordHistory {
    const history = new RecordHistory({ tableId, name, schema: SCHEMA });
    this.tables.histories.push({ history, tabletIds: [...tabletIds] });
    this.topics.put(history.begin(tabletIds[0]!));
    return history;
  }

  async verify(options: Partial<VerifyOptions> = {}): Promise<Verified> {
    const differences: Difference[] = [];
    const unreadable: UnreadableRecord[] = [];
    const repeated: RepeatedRow[] = [];
    const result = await verify(
      {
        stream: async () => Promise.resolve(this.view()),
        reader: this.tables,
        sink: this.topics,
        decoder: jsonDecoder('s'),
        systemTablePrefix: 'spoor.',
        timeoutMs: 200,
        pollMs: 10,
        progress: () => undefined,
        at: null,
        tableNames: null,
        report: (difference) => differences.push(difference),
        reportUnreadable: (record) => unreadable.push(record),
        reportRepeated: (row) => repeated.push(row),
        allowsRepeats: null,
        bufferBytes: 4096,
        readAgainMs: 1,
        ...options,
      },
      AbortSignal.timeout(60_000),
    );
    return { result, differences, unreadable, repeated, lines: differences.map(differenceToText) };
  }
}

function write(
  scene: Scene,
  history: RecordHistory,
  op: number,
  id: bigint,
  ...cells: (Buffer | null | undefined)[]
): void {
  const tabletId = `${history.tableId}-${TABLETS[Number(id % 2n)]!}`;
  scene.topics.put(history.write(tabletId, op, [int64(id), ...cells]));
}

/** Rows 0 to 9 and one beyond 2^53; of them 3 was deleted, and 4 updated. */
function shop(scene: Scene, name = 'shop'): RecordHistory {
  const history = scene.table(name);
  for (let id = 0n; id < 10n; id++) write(scene, history, RowOp.INSERT, id, int32(Number(id)), Buffer.from(`n"${id}`));
  write(scene, history, RowOp.INSERT, BIG, null, null);
  write(scene, history, RowOp.DELETE, 3n);
  write(scene, history, RowOp.UPDATE, 4n, int32(44));
  return history;
}

/** A table whose records have the rows before them, and rows 1 and 2 with an update each; by key, its records. */
function fullShop(): { readonly scene: Scene; readonly history: RecordHistory; readonly decoder: RecordDecoder } {
  const scene = new Scene();
  const history = new RecordHistory({ tableId: 'shop', name: 'shop', schema: SCHEMA, images: 'full' });
  scene.tables.histories.push({ history, tabletIds: TABLETS.map((id) => `shop-${id}`) });
  scene.topics.put(history.begin('shop-tablet0'));
  for (const id of [1n, 2n]) {
    write(scene, history, RowOp.INSERT, id, int32(1), Buffer.from('n'));
    for (const a of [2, 3]) write(scene, history, RowOp.UPDATE, id, int32(a));
  }
  return { scene, history, decoder: jsonDecoder('s', 'full') };
}

function recordsOfKey(scene: Scene, id: bigint): { readonly lane: unknown[]; readonly places: number[] } {
  for (const lane of scene.topics.records.get('cdc')!) {
    const places = Array.from(lane.keys()).filter((i) => lane[i]!.key?.toString() === `{"id":${id}}`);
    if (places.length > 0) return { lane, places };
  }
  throw new Error('no record of that key');
}

describe('verify of a stream whose records are the rows themselves', () => {
  const layout = jsonLayout({ type: 'json', envelope: 'flat' });
  const flatShop = (): { readonly scene: Scene; readonly history: RecordHistory } => {
    const scene = new Scene();
    const history = new RecordHistory({ tableId: 'shop', name: 'shop', schema: SCHEMA, images: 'after', layout });
    scene.tables.histories.push({ history, tabletIds: TABLETS.map((id) => `shop-${id}`) });
    scene.topics.put(history.begin('shop-tablet0'));
    for (let id = 0n; id < 6n; id++) write(scene, history, RowOp.INSERT, id, int32(1), Buffer.from('n'));
    write(scene, history, RowOp.UPDATE, 2n, int32(2));
    write(scene, history, RowOp.DELETE, 3n);
    history.sleep(0.01);
    return { scene, history };
  };
  const decoder = flatDecoder(layout);

  it('finds what is missing, too much, or otherwise, deletes and repeats too', async () => {
    const { scene } = flatShop();
    assert.ok(isSound((await scene.verify({ decoder })).result));
    const lanes = scene.topics.records.get('cdc')!;
    const take = (id: number, isWanted: (value: Buffer | null) => boolean): void => {
      for (const lane of lanes) {
        const at = lane.findLastIndex(({ key, value }) => key!.toString() === `{"id":${id}}` && isWanted(value));
        if (at >= 0) lane.splice(at, 1);
      }
    };
    take(2, () => true); // its update
    take(3, (value) => value === null); // its delete
    take(4, () => true);
    const { topic, partition, ...first } = scene.topics.last('cdc', '{"id":5}');
    scene.topics.produce(topic, partition, first);
    const { result, lines } = await scene.verify({ decoder });
    assert.deepEqual(lines.map((line) => line.split('  records')[0]!.replaceAll(/ +/g, ' ')).sort(), [
      'different shop {"id":2} a: want 2, have 1',
      'extra shop {"id":3}',
      'missing shop {"id":4} no record',
    ]);
    assert.equal(result.repeats, 1);
  });

  it('counts what was written before a time, deletes too, and takes none but of whole milliseconds', async () => {
    const { scene, history } = flatShop();
    const at = (((history.now >> 12n) / 1000n) * 1000n) << 12n;
    const tables = TABLETS.map((id) => history.block(`shop-${id}`));
    history.sleep(0.01);
    write(scene, history, RowOp.DELETE, 1n);
    write(scene, history, RowOp.UPDATE, 2n, int32(7));
    const [even, odd] = tables;
    history.block = (tabletId: string) => (tabletId.endsWith('0') ? even! : odd!);
    const { result } = await scene.verify({ decoder, at });
    assert.ok(isSound(result));
    assert.equal(result.later, 2);
    await assert.rejects(scene.verify({ decoder, at: at + 1n }), {
      name: 'VerifyError',
      kind: 'usage',
      message: `--at ${at + 1n} is no whole millisecond, and flat records have no other times: ${at + 4_096_000n} is the next one`,
    });
  });

  it('folds the copies of rows, and marks and records of nobody are none', async () => {
    const { scene, history } = flatShop();
    const { announced, rows } = history.copy('shop-tablet0');
    scene.topics.put([...announced, ...rows]);
    scene.topics.produce('cdc', 0, { key: null, value: Buffer.from('{"resolved":"1"}'), position: null });
    assert.ok(isSound((await scene.verify({ decoder })).result));
    scene.topics.produce('cdc', 0, { key: Buffer.from('{"id":1}'), value: Buffer.from('{"id":1}'), position: null });
    const { unreadable } = await scene.verify({ decoder });
    assert.deepEqual(
      unreadable.map(({ reason }) => reason),
      ['it has no position (the header spoor.pos), so no operation'],
    );
  });

  it('is refused where the topic has the time of the broker, with the setting that it takes', async () => {
    const { scene } = flatShop();
    for (const lane of scene.topics.records.get('cdc')!)
      for (const [i, record] of lane.entries()) lane[i] = { ...record, timestampMs: null };
    await assert.rejects(scene.verify({ decoder }), /refused|message\.timestamp\.type=CreateTime/);
  });
});

describe('verify of rows before their operations', () => {
  it('finds nothing where each follows from the records before it', async () => {
    const { scene, history, decoder } = fullShop();
    write(scene, history, RowOp.DELETE, 1n);
    write(scene, history, RowOp.UPSERT, 1n, int32(9));
    write(scene, history, RowOp.UPSERT, 1n, int32(8));
    const { result } = await scene.verify({ decoder });
    assert.ok(isSound(result));
  });

  it('names a record that says another row than the records before it make', async () => {
    const { scene, decoder } = fullShop();
    const { lane, places } = recordsOfKey(scene, 2n);
    lane.splice(places[1]!, 1); // the table is what the others make all the same
    const { result, differences, lines } = await scene.verify({ decoder });
    assert.deepEqual([result.before, result.different, isSound(result)], [1, 0, false]);
    const [{ kind, columns, records }] = differences as [Difference];
    assert.deepEqual([kind, columns], ['before', [{ column: 'a', want: '1', have: '2' }]]);
    assert.match(lines[0]!, /^before {5}shop {2}\{"id":2\} {2}a: want 1, have 2 {2}records: shop-tablet0\/1\.\d\.0 /);
    assert.equal(records.length, 2, 'the record, and the one before it');
    assert.match(summaryToText(result, { shown: 1, repair: null }), /^before {6}1: records that say/m);
    assert.match(
      differenceToJson(differences[0]!),
      /"kind":"before".*"columns":\[\{"column":"a","want":1,"have":2\}\]/,
    );
  });

  it('names one that says there was no row, or that there was one', async () => {
    const { scene, history, decoder } = fullShop();
    write(scene, history, RowOp.DELETE, 1n);
    write(scene, history, RowOp.INSERT, 1n, int32(9));
    const { lane, places } = recordsOfKey(scene, 1n);
    lane.splice(places[3]!, 2); // the delete and its tombstone
    const gone = recordsOfKey(scene, 2n);
    scene.topics.produce('cdc', 0, { key: Buffer.from('{"id":2}'), value: null, position: null });
    const { differences } = await scene.verify({ decoder });
    assert.deepEqual(
      differences.filter(({ kind }) => kind === 'before').map(({ reason }) => reason),
      ['the record says that there was no row before it, and the records before it make one'],
    );
    assert.ok(gone.places.length > 0);
    const other = fullShop();
    write(other.scene, other.history, RowOp.DELETE, 2n);
    const deleted = recordsOfKey(other.scene, 2n);
    const [last] = deleted.lane.splice(deleted.places[2]!, 1);
    deleted.lane.push(last); // an update behind its row's delete
    const found = await other.scene.verify({ decoder, allowsRepeats: true });
    assert.equal(found.result.before, 0, 'a record that comes again tells nothing');
  });

  it('says nothing of what a copy has put right since, of the first record, and of one behind a key alone', async () => {
    const { scene, history, decoder } = fullShop();
    const { lane, places } = recordsOfKey(scene, 2n);
    lane.splice(places[1]!, 1);
    const { announced, rows } = history.copy('shop-tablet0');
    scene.topics.put([...announced, ...rows]);
    assert.ok(isSound((await scene.verify({ decoder })).result));
    const lost = fullShop();
    const ofFirst = recordsOfKey(lost.scene, 2n);
    ofFirst.lane.splice(ofFirst.places[0]!, 1); // as retention and compaction take it
    assert.ok(isSound((await lost.scene.verify({ decoder })).result));
    const short = fullShop();
    const ofKey = recordsOfKey(short.scene, 2n);
    const record = ofKey.lane[ofKey.places[1]!] as { value: Buffer };
    const json = JSON.parse(record.value.toString()) as { after: object; before: null; source: { image?: string } };
    json.after = { id: 2 };
    json.before = null;
    json.source.image = 'key-only';
    record.value = Buffer.from(JSON.stringify(json));
    assert.ok(isSound((await short.scene.verify({ decoder })).result));
  });

  it('does not hold records against each other of a stream that leaves some out, or puts some elsewhere', async () => {
    for (const more of [{ skipOperations: ['r' as const] }, { oversize: 'dead-letter' as const }]) {
      const { scene, decoder } = fullShop();
      const { lane, places } = recordsOfKey(scene, 2n);
      lane.splice(places[1]!, 1);
      scene.view = () => scene.tables.view(['*'], more);
      assert.equal((await scene.verify({ decoder })).result.before, 0);
    }
  });
});

describe('verify', () => {
  it('finds nothing on a sound stream', async () => {
    const scene = new Scene();
    shop(scene);
    const { result, lines } = await scene.verify();
    assert.deepEqual(lines, []);
    const { rows, records, missing, extra, different, unreadable, repeats, later, leftOut } = result;
    assert.deepEqual(
      { rows, records, missing, extra, different, unreadable, repeats, later, leftOut },
      { rows: 10, records: 13, missing: 0, extra: 0, different: 0, unreadable: 0, repeats: 0, later: 0, leftOut: 0 },
    );
  });

  it('finds a row that was removed by a delete or by a tombstone, one that is stale, one too many', async () => {
    const scene = new Scene();
    shop(scene);
    const record = scene.topics.last('cdc', '{"id":4}');
    const old = record.value!.toString();
    const { partition } = record;
    const remove = old
      .replace('"op":"u"', '"op":"d"')
      .replace(/"before":null,"after":\{.*?\}/, '"before":{"id":4},"after":null');
    scene.topics.produce('cdc', partition, { ...record, value: Buffer.from(remove) });
    const five = scene.topics.last('cdc', '{"id":5}');
    scene.topics.produce('cdc', five.partition, { key: five.key, value: null, position: five.position });
    const six = scene.topics.last('cdc', '{"id":6}');
    scene.topics.produce('cdc', six.partition, { key: six.key, value: null, position: null });
    const seven = scene.topics.last('cdc', '{"id":7}');
    const stale = Buffer.from(seven.value!.toString().replace('"a":7', '"a":null'));
    scene.topics.produce('cdc', seven.partition, { ...seven, value: stale });
    const extra = Buffer.from(seven.value!.toString().replace('"id":7', '"id":77'));
    scene.topics.produce('cdc', 0, { key: Buffer.from('{"id":77}'), value: extra, position: seven.position });
    const { result, differences, lines } = await scene.verify();
    assert.deepEqual(lines.map(withoutRecords), [
      'missing    shop  {"id":4}',
      'missing    shop  {"id":5}',
      'missing    shop  {"id":6}',
      'different  shop  {"id":7}  a: want 7, have null',
      'extra      shop  {"id":77}',
    ]);
    assert.match(
      lines[0]!,
      / records: shop-tablet0\/1\.\d\.0 \(cdc\/\d\/\d+\), shop-tablet0\/1\.7\.0 .*, shop-tablet0\/1\.7\.0 /,
    );
    assert.match(lines[2]!, /, no spoor\.pos \(cdc\/\d\/\d+\)$/);
    assert.deepEqual(
      differences.map(({ tabletId, encodedKey }) => [tabletId, encodedKey.readBigUInt64BE() - (1n << 63n)]),
      [
        ['shop-tablet0', 4n],
        ['shop-tablet1', 5n],
        ['shop-tablet0', 6n],
        ['shop-tablet1', 7n],
        ['shop-tablet1', 77n],
      ],
    );
    assert.deepEqual([result.missing, result.different, result.extra, result.unreadable], [3, 1, 1, 0]);
    assert.match(
      summaryToText(result, { shown: 2, repair: null }),
      /\nmissing +3\nextra +1\ndifferent +1\nshown +the first 2 of 5 rows/,
    );
    const repair = { repaired: 7, skipped: 2 };
    assert.match(
      summaryToText(result, { shown: 5, repair }),
      /\nrepaired +7\nskipped +2 could not be repaired\nmissing +3\nextra +1\ndifferent +1\nrepeated +2:/,
    );
    const repaired = JSON.parse(summaryToJson(result, { shown: 5, repair })) as Record<string, unknown>;
    assert.deepEqual([repaired['repaired'], repaired['skipped']], [7, 2]);
    const { table, key, tabletId } = differences[3]!;
    const skipped = { table, key, tabletId, reason: 'is odd' };
    assert.equal(skippedToText(skipped), 'skipped    shop  {"id":7}  tablet shop-tablet1  is odd');
    assert.deepEqual(JSON.parse(skippedToJson(skipped)), {
      kind: 'skipped',
      table: 'shop',
      tablet_id: 'shop-tablet1',
      key: { id: 7 },
      reason: 'is odd',
    });
    const summary = JSON.parse(summaryToJson(result, { shown: 2, repair: null })) as Record<string, unknown>;
    assert.deepEqual([summary['kind'], summary['missing'], summary['tables']], ['summary', 3, ['shop']]);
    const json = JSON.parse(differenceToJson(differences[3]!)) as Record<string, unknown>;
    assert.deepEqual([json['key'], json['columns']], [{ id: 7 }, [{ column: 'a', want: 7, have: null }]]);
  });

  it('finds a row without any record, and keeps numbers beyond 2^53 exact', async () => {
    const scene = new Scene();
    const history = shop(scene);
    history.write('shop-tablet1', RowOp.INSERT, [int64(BIG + 2n), null, null]);
    write(scene, history, RowOp.UPDATE, BIG, int32(1));
    const lane = scene.topics.records
      .get('cdc')!
      .find((records) => records.at(-1)?.key?.toString() === `{"id":${BIG}}`)!;
    lane.pop();
    const { lines, differences } = await scene.verify();
    assert.deepEqual(lines.map(withoutRecords), [
      `different  shop  {"id":${BIG}}  a: want 1, have null`,
      `missing    shop  {"id":${BIG + 2n}}  no record`,
    ]);
    assert.ok(differenceToJson(differences[1]!).includes(`"key":{"id":${BIG + 2n}},"columns":[],"records":[]`));
  });

  it('tells of records that nobody can fold', async () => {
    const scene = new Scene();
    shop(scene);
    const { key, position, value } = scene.topics.last('cdc', '{"id":7}');
    for (const bad of [
      'not json',
      '{}',
      value!.toString().replace('"note"', '"other"'),
      value!.toString().replace('"id":7', '"id":8'),
    ])
      scene.topics.produce('cdc', 0, { key, position, value: Buffer.from(bad) });
    const { result, unreadable, lines } = await scene.verify();
    assert.deepEqual(lines, []);
    assert.equal(result.unreadable, 4);
    assert.deepEqual(
      unreadable.map(({ reason }) => reason),
      [
        'no known schema version has its columns, with such values',
        'not JSON: no value at character 0',
        'an object is missing',
        'its key is not that of its value',
      ],
    );
  });

  describe('where the schema topic lacks schemas', () => {
    /** The stream is given another topic; or it had a retention, or was made anew. */
    function loseSchemas(scene: Scene): void {
      scene.topics.records.delete('schemas');
    }

    const RENAMED: TableSchema = { columns: [KEY, { ...A, name: 'b' }, NOTE] };
    const ADDED = column('added', DataType.INT32, { id: 13, readDefault: int32(1), writeDefault: int32(1) });

    it('knows that of now, and so finds what is wrong and nothing else', async () => {
      const scene = new Scene();
      const history = shop(scene);
      loseSchemas(scene);
      const sound = await scene.verify();
      assert.deepEqual([sound.lines, sound.result.records, sound.result.unreadable], [[], 13, 0]);
      history.write('shop-tablet0', RowOp.UPDATE, [int64(6n), int32(66)]); // its record is lost
      const { key, position, partition } = scene.topics.last('cdc', '{"id":7}');
      scene.topics.produce('cdc', partition, { key, position, value: null });
      assert.deepEqual((await scene.verify()).lines.map(withoutRecords), [
        'different  shop  {"id":6}  a: want 66, have 6',
        'missing    shop  {"id":7}',
      ]);
    });

    it('knows what an ALTER found that came since', async () => {
      const scene = new Scene();
      const history = shop(scene);
      loseSchemas(scene);
      scene.topics.put(history.alter('shop-tablet1', { schema: RENAMED }));
      write(scene, history, RowOp.UPDATE, 4n, int32(45));
      const { result, lines } = await scene.verify();
      assert.deepEqual([lines, result.unreadable, result.records], [[], 0, 14]);
    });

    it('reads rows of an older one that lack columns which were added since', async () => {
      const scene = new Scene();
      const history = shop(scene);
      history.sleep(100);
      history.alter('shop-tablet0', { schema: { columns: [...SCHEMA.columns, ADDED] } });
      write(scene, history, RowOp.UPSERT, 5n, int32(55), undefined, int32(2));
      loseSchemas(scene);
      const sound = await scene.verify();
      assert.deepEqual([sound.lines, sound.result.unreadable], [[], 0]);
      history.write('shop-tablet0', RowOp.UPDATE, [int64(6n), undefined, undefined, int32(3)]);
      assert.deepEqual((await scene.verify()).lines.map(withoutRecords), [
        'different  shop  {"id":6}  added: want 3, have 1',
      ]);
    });

    it('says of which records it knows none, and calls no row wrong for them', async () => {
      const scene = new Scene();
      const history = shop(scene);
      history.alter('shop-tablet0', { schema: RENAMED });
      write(scene, history, RowOp.UPDATE, 4n, int32(45));
      write(scene, history, RowOp.INSERT, 100n, int32(1), null);
      history.write('shop-tablet0', RowOp.UPDATE, [int64(100n), int32(2)]); // its record is lost
      history.write('shop-tablet0', RowOp.DELETE, [int64(6n)]); // and that of this delete
      loseSchemas(scene);
      const { result, lines, unreadable } = await scene.verify();
      assert.deepEqual(lines.map(withoutRecords), [
        'extra      shop  {"id":6}',
        'different  shop  {"id":100}  b: want 2, have 1',
      ]);
      assert.deepEqual([result.rows, result.missing, isSound(result)], [10, 0, false]);
      // Ten rows, of which row 4 has two such records; that of row 3 is no matter since it was deleted.
      assert.deepEqual([result.unreadable, result.replaced, unreadable.length], [11, 1, 11]);
      assert.equal(
        unreadableToText(unreadable[0]!),
        'unreadable  shop-tablet0/1.2.0 (cdc/1/0)  no known schema version has its columns, with such values',
      );
    });

    it('makes nothing more of them once each row was shipped again', async () => {
      const scene = new Scene();
      const history = shop(scene);
      history.alter('shop-tablet0', { schema: RENAMED });
      loseSchemas(scene);
      const copy = TABLETS.map((tablet) => history.copy(`shop-${tablet}`));
      for (const { announced, rows, event } of copy) scene.topics.put([...announced, ...rows, ...event]);
      const { result, lines } = await scene.verify();
      assert.deepEqual([lines, result.unreadable, result.replaced, isSound(result)], [[], 0, 12, true]);
      assert.match(
        summaryToText(result, { shown: 0, repair: null }),
        /\nrecords +\d+ folded, .*; 12 that cannot be read, and that later ones make up for\n/,
      );
    });

    it('makes nothing more of one whose columns were all set later', async () => {
      const scene = new Scene();
      const history = scene.table('shop');
      write(scene, history, RowOp.INSERT, 1n, int32(1), Buffer.from('old'));
      history.alter('shop-tablet0', { schema: RENAMED });
      write(scene, history, RowOp.UPDATE, 1n, undefined, Buffer.from('new'));
      loseSchemas(scene);
      assert.deepEqual((await scene.verify()).result.unreadable, 1);
      write(scene, history, RowOp.UPSERT, 1n, int32(2));
      const { result, lines } = await scene.verify();
      assert.deepEqual([lines, result.unreadable, result.replaced], [[], 0, 1]);
    });

    it('does not take a column for another of its name with values of another kind', async () => {
      const scene = new Scene();
      const history = scene.table('shop');
      write(scene, history, RowOp.INSERT, 1n, int32(1), null);
      const text = column('a', DataType.STRING, { id: 20, nullable: true });
      history.alter('shop-tablet0', { schema: { columns: [KEY, text, NOTE] } });
      write(scene, history, RowOp.INSERT, 2n, Buffer.from('x'), null);
      loseSchemas(scene);
      const { result, lines } = await scene.verify();
      assert.deepEqual([lines, result.unreadable, result.records], [[], 1, 1]);
    });
  });

  it('compares as of a time, and says from when on it can', async () => {
    const scene = new Scene();
    const history = shop(scene);
    const at = history.now;
    const before = scene.tables.histories[0]!.history.block('shop-tablet0');
    const other = scene.tables.histories[0]!.history.block('shop-tablet1');
    write(scene, history, RowOp.DELETE, 4n);
    write(scene, history, RowOp.UPSERT, 5n, null);
    write(scene, history, RowOp.INSERT, 100n);
    scene.tables.scan = async ({ tabletIds }, _at, take) => {
      await take('shop-tablet0', history.schema, before);
      await take('shop-tablet1', history.schema, other);
      const ends = new Map(tabletIds.map((id) => [id, { term: 1n, index: 1n }]));
      return { schema: history.schema, schemaVersion: history.version, ends };
    };
    const { result, lines } = await scene.verify({ at });
    assert.deepEqual([lines, result.later, result.rows], [[], 3, 10]);
    const copy = history.copy('shop-tablet0');
    scene.topics.put(copy.rows);
    const copiedAt = /"hybrid_time":"(\d+)"/.exec(copy.rows[0]!.value!.toString())![1]!;
    await assert.rejects(scene.verify({ at }), {
      kind: 'usage',
      message: `--at ${at} is too early: its rows were copied as of ${copiedAt}, from which time on it can be verified`,
    });
  });

  it('follows ALTERs, each tablet taking them at its own moment, and a table over topics', async () => {
    const scene = new Scene('cdc.{table}');
    const history = shop(scene);
    const added = column('added', DataType.INT32, { id: 13, readDefault: int32(1), writeDefault: int32(1) });
    scene.topics.put(
      history.alter('shop-tablet1', { name: 'renamed', schema: { columns: [KEY, { ...A, name: 'b' }, added] } }),
    );
    write(scene, history, RowOp.UPDATE, 4n, int32(45));
    write(scene, history, RowOp.UPSERT, 200n);
    write(scene, history, RowOp.DELETE, 5n);
    scene.topics.put(history.alter('shop-tablet1', { schema: { columns: [KEY, added] } }));
    const again = { ...A, name: 'b', id: 20, readDefault: int32(9), writeDefault: int32(9) };
    scene.topics.put(history.alter('shop-tablet1', { schema: { columns: [KEY, again, added] } }));
    write(scene, history, RowOp.UPDATE, 6n, int32(6));
    write(scene, history, RowOp.UPDATE, 7n, null);
    scene.topics.put(history.alter('shop-tablet1', { name: 'shop' }));
    write(scene, history, RowOp.UPDATE, 4n, int32(46));
    write(scene, history, RowOp.INSERT, 5n, int32(1), int32(2));
    const { result, lines } = await scene.verify();
    assert.deepEqual([lines, result.unreadable, result.rows], [[], 0, 11]);
    assert.deepEqual([...scene.topics.records.keys()].sort(), ['cdc.renamed', 'cdc.shop', 'schemas']);
  });

  it('leaves out what was dropped: a tablet, while it reads, and a table of before', async () => {
    const scene = new Scene();
    shop(scene);
    shop(scene, 'gone');
    scene.tables.histories.pop();
    const tabletIds = scene.tables.histories[0]!.tabletIds;
    const look = scene.view;
    scene.view = () => {
      const view = look();
      if (tabletIds.length === 1)
        return { ...view, tablets: view.tablets.filter(({ tabletId }) => tabletId === tabletIds[0]) };
      return view;
    };
    const scan = scene.tables.scan.bind(scene.tables);
    scene.tables.scan = async (...args) => {
      const scanned = await scan(...args);
      tabletIds.pop(); // tablet1, of rows with odd ids
      return scanned;
    };
    const { result, lines } = await scene.verify();
    assert.deepEqual([lines, result.rows, result.unreadable], [[], 5, 0]);
    assert.ok(result.leftOut > 13, String(result.leftOut));
  });

  it('takes what comes again, and copies', async () => {
    const scene = new Scene();
    const history = shop(scene);
    for (const lane of scene.topics.records.get('cdc')!)
      for (const { key, value, position } of lane.slice(-3))
        scene.topics.produce('cdc', lane[0]!.partition, { key, value, position });
    history.rows.delete(int64(2n).toString('hex')); // the log of its delete was lost
    const copy = history.copy('shop-tablet0');
    scene.topics.put([...copy.announced, ...copy.rows, ...copy.event]);
    write(scene, history, RowOp.UPSERT, 2n, int32(7));
    const { result, lines } = await scene.verify({ allowsRepeats: true });
    assert.deepEqual([lines, result.repeats > 3, isSound(result)], [[], true, true]);
  });

  it('finds records that came again where each was to come once, and names their rows', async () => {
    for (const delivery of ['exactly-once', 'at-least-once'] as const) {
      const scene = new Scene();
      shop(scene);
      const { partition, key, value, position } = scene.topics.last('cdc', '{"id":4}');
      scene.topics.produce('cdc', partition, { key, value, position });
      const view = scene.tables.view(['*']);
      const options = { stream: () => Promise.resolve({ ...view, sink: { ...view.sink, delivery } }) };
      const { result, lines, repeated } = await scene.verify(options);
      const isFault = delivery === 'exactly-once';
      assert.deepEqual([lines, result.repeats, isSound(result)], [[], 1, !isFault], delivery);
      const named = repeated.map((row) => repeatedToText(row).replace(/ {2}records: .*/, ''));
      assert.deepEqual(named, isFault ? ['repeated   shop  {"id":4}  1 times again'] : []);
      assert.equal(summaryToText(result, { shown: 0, repair: null }).includes('--allow-repeats'), isFault);
      const allowed = await scene.verify({ ...options, allowsRepeats: true });
      assert.deepEqual([allowed.result.repeats, isSound(allowed.result), allowed.repeated], [1, true, []]);
    }
  });

  it('does not take the copies of another stream for its own', async () => {
    const scene = new Scene();
    const history = shop(scene);
    scene.topics.put(history.copy('shop-tablet0').event);
    const other = new RecordHistory({ tableId: 'shop', name: 'shop', schema: SCHEMA, streamName: 'other' });
    scene.topics.put(other.write('shop-tablet0', RowOp.INSERT, [int64(4n), int32(0), null]));
    scene.topics.put(other.write('shop-tablet0', RowOp.DELETE, [int64(4n)]));
    assert.deepEqual((await scene.verify()).lines, []);
  });

  it('of a stream that began at now does not know older rows, and looks at what it knows', async () => {
    const scene = new Scene();
    const history = scene.table('shop');
    for (let id = 0n; id < 6n; id++)
      history.write(`shop-${TABLETS[Number(id % 2n)]!}`, RowOp.INSERT, [int64(id), int32(5), null]);
    scene.view = () => scene.tables.view(['*'], { start: 'now' });
    write(scene, history, RowOp.UPDATE, 1n, int32(6));
    write(scene, history, RowOp.UPSERT, 2n, undefined, Buffer.from('x'));
    write(scene, history, RowOp.INSERT, 7n);
    write(scene, history, RowOp.DELETE, 3n);
    const sound = await scene.verify();
    assert.deepEqual([sound.lines, sound.result.unseen, sound.result.rows, isSound(sound.result)], [[], 3, 6, true]);
    const text = summaryToText(sound.result, { shown: 0, repair: null });
    assert.match(
      text,
      /\nrows +6 read, 3 of them compared\nunseen +3 rows have no record: the stream began at now, .*no faults\n/,
    );
    const json = JSON.parse(summaryToJson(sound.result, { shown: 0, repair: null })) as Record<string, unknown>;
    assert.deepEqual([json['rows'], json['unseen'], json['missing']], [6, 3, 0]);
    const { key, value, position, partition } = scene.topics.last('cdc', '{"id":1}');
    scene.topics.produce('cdc', partition, {
      key,
      position,
      value: Buffer.from(value!.toString().replace('"a":6', '"a":5')),
    });
    assert.deepEqual((await scene.verify()).lines.map(withoutRecords), [
      'different  shop  {"id":1}  a: want 6, have 5',
    ]);
  });

  it('looks at some tables only', async () => {
    const scene = new Scene();
    shop(scene);
    const other = shop(scene, 'other');
    other.write('other-tablet0', RowOp.INSERT, [int64(1000n), null, null]);
    const { result, lines } = await scene.verify({ tableNames: ['shop'] });
    assert.deepEqual([lines, result.tables, result.leftOut, result.rows], [[], ['shop'], 0, 10]);
    assert.deepEqual((await scene.verify()).lines.map(withoutRecords), ['missing    other  {"id":1000}  no record']);
    await assert.rejects(scene.verify({ tableNames: ['nope'] }), {
      kind: 'usage',
      message: 'the stream has no table "nope"',
    });
  });

  it('scans anew when a table is altered meanwhile: what was scanned before does not count', async () => {
    const scene = new Scene();
    const history = shop(scene);
    const scan = scene.tables.scan.bind(scene.tables);
    let scans = 0;
    scene.tables.scan = async (...args) => {
      const scanned = await scan(...args);
      if (++scans > 1) return scanned;
      write(scene, history, RowOp.DELETE, 4n);
      throw new ScanDisturbedError('altered');
    };
    const { lines, result } = await scene.verify({ at: history.now + (1n << 30n), timeoutMs: 5000 });
    assert.deepEqual([lines, result.rows, scans], [[], 9, 2]);
  });

  it('waits for copies and for what is not shipped, and says what it waits for', async () => {
    const scene = new Scene();
    shop(scene);
    const whole = scene.view;
    const change =
      (more: object): (() => StreamView) =>
      () => {
        const view = whole();
        return { ...view, tablets: view.tablets.map((tablet, i) => (i === 1 ? { ...tablet, ...more } : tablet)) };
      };
    const error = { code: 'SPOOR_SINK_UNAVAILABLE', message: 'away', since: '2026-01-01T00:00:00.000Z' };
    for (const [more, says] of [
      [
        { state: 'blocked', error },
        /not every tablet runs after 0.2 s:\n {2}tablet shop-tablet1 of shop: blocked, .*: SPOOR_SINK_UNAVAILABLE: away$/,
      ],
      [{ state: 'base-copy' }, /tablet shop-tablet1 of shop: base-copy, shipped up to 1\./],
      [
        { applyOpId: '1.2' },
        /not every tablet has shipped enough .*\n {2}tablet shop-tablet1 of shop: running, shipped up to 1\.2, wanted is \d+$/,
      ],
      [{ tabletId: 'another' }, /tablet shop-tablet1: the stream does not have it yet/],
    ] as const) {
      scene.view = change(more);
      await assert.rejects(scene.verify(), { kind: 'failed', message: says });
    }
    let looks = 0;
    scene.view = () => {
      if (++looks === 2) throw new StreamUnavailableError('the sidecar restarts');
      return looks < 4 ? change({ state: 'resync' })() : whole();
    };
    assert.deepEqual((await scene.verify()).lines, []);
  });
});

function withoutRecords(line: string): string {
  return line.replace(/ {2}records: .*$/, '');
}
