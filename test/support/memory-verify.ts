import type { SinkRecord } from '../../src/change/record.ts';
import type { HybridTime } from '../../src/kudu/hybrid-time.ts';
import type { StreamView, TabletView } from '../../src/api/shapes.ts';
import { laneOf, showPlace } from '../../src/sinks/kafka/record-place.ts';
import type { SinkReader, StoredRecord } from '../../src/sinks/reader.ts';
import type { ListedTable, ScannedTable, TableReader, TakeBlock } from '../../src/verify/table-rows.ts';
import type { RecordHistory } from './record-history.ts';

/** A record, and where `produce` puts it. */
interface MemoryRecord extends StoredRecord {
  readonly topic: string;
  readonly partition: number;
}

/** A Kafka in memory: what `put` takes in is at once committed. */
export class MemoryTopics implements SinkReader {
  readonly schemaDestination = 'schemas';
  readonly show = showPlace;
  readonly records = new Map<string, MemoryRecord[][]>();
  readonly #template: string;
  readonly #partitions: number;

  constructor(template = 'cdc', partitions = 2) {
    this.#template = template;
    this.#partitions = partitions;
  }

  destinationOf(tableName: string): string {
    return this.#template.replace('{table}', tableName);
  }

  /** Puts a stream's records where the sink puts them. */
  put(records: readonly SinkRecord[]): void {
    for (const { kind, table, key, value, position, timestampMs } of records)
      if (kind === 'schema') this.produce(this.schemaDestination, 0, { key, value, position, timestampMs });
      else
        this.produce(this.destinationOf(table), partitionOf(key, this.#partitions), {
          key,
          value,
          position,
          timestampMs,
        });
  }

  /** Puts any record anywhere. */
  produce(
    topic: string,
    partition: number,
    record: Pick<StoredRecord, 'key' | 'value' | 'position'> & Partial<StoredRecord>,
  ): void {
    let partitions = this.records.get(topic);
    if (!partitions) this.records.set(topic, (partitions = Array.from({ length: this.#partitions }, () => [])));
    const lane = partitions[partition]!;
    const place = { lane: laneOf(topic, partition), order: BigInt(lane.length) };
    lane.push({ timestampMs: null, ...record, topic, partition, place });
  }

  /** The last record of a key. */
  last(topic: string, key: string): MemoryRecord {
    return this.records
      .get(topic)!
      .flat()
      .findLast((record) => record.key?.toString() === key)!;
  }

  async *read(topic: string): AsyncGenerator<readonly StoredRecord[], void, void> {
    await Promise.resolve();
    for (const lane of this.records.get(topic) ?? [])
      for (let from = 0; from < lane.length; from += 7) yield lane.slice(from, from + 7);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

function partitionOf(key: Buffer, partitions: number): number {
  return key.reduce((sum, byte) => sum + byte, 0) % partitions;
}

/** Tables in memory, with the tablets named; they are as they are when they are scanned. */
export class MemoryTables implements TableReader {
  readonly histories: { readonly history: RecordHistory; tabletIds: string[] }[] = [];
  /** Called before each scan. */
  onScan: () => void = () => undefined;

  tables(): Promise<readonly ListedTable[]> {
    return Promise.resolve(
      this.histories.map(({ history, tabletIds }) => ({ tableId: history.tableId, name: history.name, tabletIds })),
    );
  }

  now(): Promise<HybridTime> {
    return Promise.resolve(this.histories.reduce((max, { history }) => (history.now > max ? history.now : max), 0n));
  }

  async scan({ tableId, tabletIds }: ListedTable, _at: HybridTime, take: TakeBlock): Promise<ScannedTable> {
    this.onScan();
    const { history } = this.histories.find((each) => each.history.tableId === tableId)!;
    for (const tabletId of tabletIds) await take(tabletId, history.schema, history.block(tabletId));
    const ends = new Map(tabletIds.map((tabletId) => [tabletId, { term: 1n, index: history.indexOf(tabletId) }]));
    return { schema: history.schema, schemaVersion: history.version, ends };
  }

  /** A stream that has shipped all of these tables. */
  view(tables: readonly string[], more: Partial<StreamView> = {}): StreamView {
    const tablets = this.histories.flatMap(({ history, tabletIds }) =>
      tabletIds.map((tabletId): TabletView => ({
        stream: 's',
        tabletId,
        table: history.name,
        sidecar: '127.0.0.1:1',
        role: 'leader',
        state: 'running',
        applyOpId: `1.${history.indexOf(tabletId)}`,
        committedOpId: `1.${history.indexOf(tabletId)}`,
        lagOps: 0,
        lagSeconds: 0,
        hold: null,
      })),
    );
    return {
      name: 's',
      tables: [...tables],
      start: 'snapshot',
      sink: {
        type: 'kafka',
        topic: 'cdc',
        delivery: 'exactly-once',
        partitions: 2,
        replicationFactor: 1,
        createTopics: true,
        schemaTopic: 'schemas',
      },
      format: { type: 'json' },
      images: 'after',
      partitionBy: 'key',
      oversize: 'block',
      tombstones: true,
      paused: false,
      revision: 1,
      createdAt: '2026-01-01T00:00:00.000Z',
      tablets,
      ...more,
    };
  }
}
