import { hash } from 'node:crypto';
import { formatRawJson, parseRawJson, type RawObject } from '../../src/formats/raw-json.ts';
import type { SpoorCluster } from '../support/spoor-cluster.ts';
import { TableFold } from '../support/fold.ts';
import { TopicReader, type TopicRecord } from '../support/topic-reader.ts';

/** What a topic turned out to hold. */
export interface TopicFigures {
  /** Row records, repeats not counted. */
  readonly records: number;
  /** Row records that came again; always 0 for exactly-once. */
  readonly repeats: number;
  /** Independent of order: the same for topics with the same positions. */
  readonly positions: bigint;
}

/** How fast a topic is read at the least. */
const LEAST_RECORDS_A_MS = 3;

interface Lane {
  /** What came, by position: a digest of its bytes. */
  readonly seen: Map<string, string>;
}

/**
 * Folds a stream's topic and holds it against the table. The fold itself throws at a position out of order, at a row
 * that comes twice and at a key in two partitions. At-least-once: what comes again must be the same bytes; without it
 * all is as in exactly-once.
 * What came is also held against what Kudu's logs say, row by row.
 * @param options.hasOld version 0.1 has made the stream, and some of its records: they have what was set, and no more
 * @param options.rows by tablet, what Kudu applied, as `term.index.row`; where that is known
 * @throws {Error} at the first thing that is wrong, with up to 20 differences to the table
 */
export async function checkTopic(
  cluster: SpoorCluster,
  stream: string,
  table: string,
  options: {
    readonly repeats: boolean;
    readonly atLeast: number;
    readonly hasOld?: boolean;
    readonly rows?: ReadonlyMap<string, ReadonlySet<string>>;
  },
): Promise<TopicFigures> {
  const { hasOld = false } = options;
  const fold = new TableFold({ hasWholeImages: !hasOld, hasOld });
  await using schemas = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [`${stream}.schema`],
    onRecord: ({ value }) => {
      if (value) fold.addSchema(value);
    },
  });
  await schemas.settle(() => schemas.count > 0, { quietMs: 500, timeoutMs: 30_000 });

  const lanes = new Map<string, Lane>();
  /** By tablet, the rows that came. */
  const { rows = new Map<string, ReadonlySet<string>>() } = options;
  const came = new Map([...rows.keys()].map((tablet) => [tablet, new Set<string>()]));
  let repeats = 0;
  let positions = 0n;
  const failures: Error[] = [];
  const culprits: TopicRecord[] = [];
  const take = (record: TopicRecord): void => {
    const position = record.headers['spoor.pos'] ?? '';
    if (options.repeats && isRepeat(lanes, record, position, hasOld ? rowOf : (value) => value)) {
      if (record.value !== null) repeats++;
      return;
    }
    fold.push({ key: record.key ?? Buffer.alloc(0), value: record.value, position }, record.partition);
    if (record.value !== null) positions ^= BigInt(`0x${hash('md5', position)}`);
  };
  await using reader = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [stream],
    onRecord: (record) => {
      if (record.value !== null) {
        const [tablet = '', row = ''] = (record.headers['spoor.pos'] ?? '').split('/');
        came.get(tablet)?.add(row);
      }
      try {
        if (failures.length === 0) take(record);
      } catch (error) {
        culprits.push(record);
        failures.push(error as Error);
      }
    },
  });
  // However many there are: it ends when nothing more comes. Fewer are a failure too, of which the comparison can say more.
  const timeoutMs = 60_000 + options.atLeast / LEAST_RECORDS_A_MS;
  await reader
    .settle(() => true, { quietMs: 10_000, timeoutMs })
    .catch((error: unknown) => {
      failures.push(new Error(`stream ${stream} was not read to its end in ${timeoutMs} ms`, { cause: error }));
    });
  const [failure] = failures;
  const [culprit] = culprits;
  const misses = missesOf(came, rows);
  if (misses.length > 0) throw new Error(`stream ${stream}:\n${misses.join('\n')}`, { cause: failure });
  if (failure && culprit)
    throw new Error(`${failure.message}\n${await historyOf(cluster, stream, culprit)}`, { cause: failure });
  if (failure) throw failure;
  const { differences } = fold.compare(await cluster.dump(table));
  if (differences.length > 0)
    throw new Error(
      `stream ${stream} with ${fold.records} records, of at least ${options.atLeast}, differs:\n${differences.join('\n')}`,
    );
  return { records: fold.records, repeats, positions };
}

/** Which rows of which tablets came and were never applied, or the other way round. */
function missesOf(
  came: ReadonlyMap<string, ReadonlySet<string>>,
  applied: ReadonlyMap<string, ReadonlySet<string>>,
): string[] {
  const misses: string[] = [];
  for (const [tablet, rows] of applied) {
    const missing = [...rows].filter((row) => !came.get(tablet)!.has(row)).sort(byIndex);
    const invented = [...came.get(tablet)!].filter((row) => !rows.has(row)).sort(byIndex);
    if (missing.length > 0)
      misses.push(`${tablet}: ${missing.length} rows are missing, ${missing[0]} to ${missing.at(-1)}`);
    if (invented.length > 0) misses.push(`${tablet}: ${invented.length} came that never were, from ${invented[0]} on`);
  }
  return misses;
}

function byIndex(a: string, b: string): number {
  return Number(a.split('.')[1]) - Number(b.split('.')[1]);
}

/** All that the topic has of a record's key, for whoever looks for what went wrong. */
async function historyOf(cluster: SpoorCluster, stream: string, { key }: TopicRecord): Promise<string> {
  const lines: string[] = [];
  await using reader = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [stream],
    onRecord: (record) => {
      if (!key || !record.key?.equals(key)) return;
      const { op, source } = (record.value ? JSON.parse(record.value.toString()) : {}) as {
        readonly op?: string;
        readonly source?: { readonly kudu_op?: string; readonly ts_us?: number };
      };
      const what = record.value ? `${op} ${source?.kudu_op} at ${source?.ts_us}` : 'tombstone';
      lines.push(`${record.partition} ${record.headers['spoor.pos']} ${what}`);
    },
  });
  await reader.settle(() => lines.length > 0, { quietMs: 5_000, timeoutMs: 120_000 }).catch(() => undefined);
  return lines.join('\n');
}

/**
 * Whether a record came before; notes it. A tombstone is told from its delete, whose position it has.
 * @param sameOf what of a value has to be the same when it comes again
 */
function isRepeat(
  lanes: Map<string, Lane>,
  { partition, key, value }: TopicRecord,
  position: string,
  sameOf: (value: Buffer) => Buffer,
): boolean {
  const [tablet = '', opId = ''] = position.split('/');
  const lane = lanes.get(`${partition} ${tablet}`) ?? { seen: new Map<string, string>() };
  lanes.set(`${partition} ${tablet}`, lane);
  const id = value === null ? `${opId} tombstone` : opId;
  const digest = hash(
    'md5',
    Buffer.concat([key ?? Buffer.alloc(0), value ? sameOf(value) : Buffer.alloc(0)]),
    'base64',
  );
  const before = lane.seen.get(id);
  if (before === undefined) {
    lane.seen.set(id, digest);
    return false;
  }
  if (before !== digest) throw new Error(`${position} came again with other bytes`);
  return true;
}

/** What records of all versions tell in the same way: what became of the row. */
function rowOf(value: Buffer): Buffer {
  const record = parseRawJson(value.toString()) as RawObject;
  return Buffer.from(['op', 'before', 'after'].map((name) => formatRawJson(record.get(name) ?? 'null')).join());
}
