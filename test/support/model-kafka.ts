import { CREATE_TOPICS, FIND_COORDINATOR, METADATA } from '../../src/sinks/kafka/wire/cluster-apis.ts';
import { OFFSET_FETCH } from '../../src/sinks/kafka/wire/offset-apis.ts';
import {
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  END_TXN,
  INIT_PRODUCER_ID,
  PRODUCE,
} from '../../src/sinks/kafka/wire/transaction-apis.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import { DESCRIBE_TOPIC_CONFIG } from '../../src/sinks/kafka/wire/describe-configs.ts';
import { END_OFFSETS, FETCH } from '../../src/sinks/kafka/wire/fetch.ts';
import { readStoredBatches, type FetchedRecord } from '../../src/sinks/kafka/wire/record-batch-reader.ts';
import { crc32c } from '../../src/util/crc32c.ts';
import { FakeBroker, type FakeRequest } from './fake-broker.ts';

/*
 * Kafka's transactions as brokers 2.5 to 4 keep them, in this process: logs, producer state, coordinators, markers. It is for
 * what a real broker can't be made to do at will: lose the marker of one partition, answer late, hold a request back.
 */

const NOT_LEADER = 6;
const UNKNOWN_TOPIC = 3;
const LEADER_NOT_AVAILABLE = 5;
const OUT_OF_ORDER = 45;
const INVALID_EPOCH = 47;
const INVALID_STATE = 48;
const CONCURRENT = 51;
const ID_NOT_FOUND = 105;
const TIME_OUT_REFUSED = 50;
const BATCH_HEADER = 61;

type State = 'Empty' | 'Ongoing' | 'PrepareCommit' | 'PrepareAbort' | 'CompleteCommit' | 'CompleteAbort';

interface Transactions {
  readonly producerId: bigint;
  epoch: number;
  state: State;
  partitions: Set<string>;
}

interface StoredProducer {
  epoch: number;
  nextSequence: number;
  lastBatch: { readonly sequence: number; readonly offset: bigint } | null;
  openSince: bigint;
}

interface Partition {
  leader: number;
  readonly batches: { readonly offset: bigint; readonly bytes: Buffer }[];
  end: bigint;
  readonly producers: Map<bigint, StoredProducer>;
}

/** What becomes of a request: it is worked on, or not, and its answer arrives, or not. */
export type Fate =
  | 'serve'
  | 'lose-answer'
  | 'hang-up'
  | 'silent'
  | { readonly refuse: number; readonly afterMs?: number }
  | { readonly afterMs: number };

export interface ModelKafkaOptions {
  readonly nodes?: number;
  /** Asked for each request. */
  readonly fate?: (apiKey: number, node: number) => Fate;
  /** Whether a partition gets a marker that is due. */
  readonly keepsMarker?: (partition: string, outcome: 'commit' | 'abort') => boolean;
  /** How long after a decision its markers are written. */
  readonly markersAfterMs?: () => number;
  /** Whether brokers ask the coordinator before they take a record, as from 3.6 on. */
  readonly verifies?: boolean;
  /** transaction.max.timeout.ms */
  readonly longestTransactionMs?: number;
}

export class ModelKafka implements AsyncDisposable {
  readonly #options: ModelKafkaOptions;
  readonly #brokers: FakeBroker[] = [];
  readonly #topics = new Map<string, Partition[]>();
  readonly #transactions = new Map<string, Transactions>();
  #producers = 1000n;
  /** What happened, for people to read. */
  readonly journal: string[] = [];
  /** What came, in its order. */
  readonly asked: { readonly apiKey: number; readonly node: number }[] = [];
  /** Each end of a transaction that somebody asked for. */
  readonly ends: { readonly id: string; readonly commit: boolean; readonly partitions: readonly string[] }[] = [];
  /** With which time-outs producers were opened. */
  readonly timeoutsMs: number[] = [];

  private constructor(options: ModelKafkaOptions) {
    this.#options = options;
  }

  static async start(options: ModelKafkaOptions = {}): Promise<ModelKafka> {
    const kafka = new ModelKafka(options);
    for (let node = 0; node < (options.nodes ?? 2); node++) {
      const broker = await FakeBroker.start((request) => {
        kafka.#take(request, node);
      });
      broker.maxVersion = 70;
      broker.maxVersionOf.set(METADATA.key, 9); // without topic ids
      kafka.#brokers.push(broker);
    }
    return kafka;
  }

  get brokers(): string[] {
    return this.#brokers.map(({ address: { host, port } }) => `${host}:${port}`);
  }

  createTopic(name: string, partitions: number): void {
    this.#topics.set(name, []);
    this.addPartitions(name, partitions);
  }

  addPartitions(name: string, count: number): void {
    const partitions = this.#topics.get(name)!;
    for (let i = 0; i < count; i++)
      partitions.push({
        leader: partitions.length % this.#brokers.length,
        batches: [],
        end: 0n,
        producers: new Map(),
      });
    this.#tell(`${name} has ${partitions.length} partitions`);
  }

  /** @param leader -1: none */
  setLeader(name: string, partition: number, leader: number): void {
    this.#tell(`leader of ${name}/${partition}: ${leader}`);
    this.#topics.get(name)![partition]!.leader = leader;
  }

  partitionsOf(name: string): number {
    return this.#topics.get(name)?.length ?? 0;
  }

  /** What a `read_committed` consumer sees of a partition, up to the first open transaction. */
  committed(name: string, partition: number): FetchedRecord[] {
    const { batches } = this.#topics.get(name)![partition]!;
    const stored = batches.flatMap(({ offset, bytes }) =>
      [...readStoredBatches(bytes)].map((batch) => ({
        ...batch,
        offset,
        isTransactional: (bytes.readInt16BE(21) & 0x10) !== 0,
      })),
    );
    const seen: FetchedRecord[] = [];
    for (const [at, batch] of stored.entries()) {
      if (batch.marker) continue;
      if (batch.isTransactional) {
        const marker = stored.slice(at).find(({ marker, producerId }) => marker && producerId === batch.producerId);
        if (!marker) break;
        if (marker.marker !== 'commit') continue;
      }
      seen.push(...batch.records);
    }
    return seen;
  }

  /** Partitions, as `<topic>/<number>`, in which a transaction is open. */
  open(): string[] {
    const open: string[] = [];
    for (const [name, partitions] of this.#topics)
      for (const [number, { producers }] of partitions.entries())
        if ([...producers.values()].some(({ openSince }) => openSince >= 0n)) open.push(`${name}/${number}`);
    return open;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.#brokers) await broker[Symbol.asyncDispose]();
  }

  #tell(what: string): void {
    this.journal.push(`${performance.now().toFixed(1)} ${what}`);
  }

  #take(request: FakeRequest, node: number): void {
    const { apiKey } = request;
    this.asked.push({ apiKey, node });
    const fate = this.#options.fate?.(apiKey, node) ?? 'serve';
    if (fate !== 'serve') this.#tell(`request ${apiKey}: ${JSON.stringify(fate)}`);
    if (fate === 'silent') return;
    if (fate === 'hang-up') {
      request.hangUp();
      return;
    }
    const answer = this.#serve(request, node, typeof fate === 'object' && 'refuse' in fate ? fate.refuse : 0);
    const afterMs = (typeof fate === 'object' && fate.afterMs) || 0;
    const send = (bytes: Buffer): void => {
      if (fate === 'lose-answer') request.hangUp();
      else request.answer(bytes);
    };
    if (answer instanceof Promise) void answer.then(send);
    else if (afterMs > 0) setTimeout(send, afterMs, answer);
    else send(answer);
  }

  #serve({ apiKey, body }: FakeRequest, node: number, refused: number): Buffer | Promise<Buffer> {
    const r = new ByteReader(body);
    switch (apiKey) {
      case METADATA.key:
        return this.#metadata(r);
      case FIND_COORDINATOR.key: {
        const { host, port } = this.#brokers[0]!.address;
        return new ByteWriter().int32(0).int16(refused).string(null).int32(0).string(host).int32(port).finish();
      }
      case CREATE_TOPICS.key:
        return this.#createTopics(r);
      case DESCRIBE_TOPIC_CONFIG.key: {
        const w = new ByteWriter().int32(0).int32(1).int16(0).string(null).int8(2).string('');
        w.array(['compact'], (value) =>
          w.string('cleanup.policy').string(value).boolean(false).int8(1).boolean(false).int32(0),
        );
        return w.finish();
      }
      case END_OFFSETS.key:
        return this.#listOffsets(r, node);
      case FETCH.key:
        return this.#fetch(r, node);
      case PRODUCE.key:
        return this.#produce(r, node, refused);
      case OFFSET_FETCH.key:
        return new ByteWriter()
          .noTags()
          .int32(0)
          .compactArray([], () => 0)
          .int16(0)
          .noTags()
          .finish();
      case INIT_PRODUCER_ID.key:
        return this.#initProducer(r, refused);
      case ADD_PARTITIONS_TO_TXN.key:
        return this.#addPartitions(r, refused);
      case END_TXN.key:
        return this.#endTransaction(r, refused);
      case DESCRIBE_TRANSACTIONS.key:
        return this.#describeTransaction(r);
      case DESCRIBE_PRODUCERS.key:
        return this.#describeProducers(r, node);
      default:
        throw new Error(`the model knows no request ${apiKey}`);
    }
  }

  #metadata(r: ByteReader): Buffer {
    const topics = r.array(() => r.string());
    const w = new ByteWriter().int32(0);
    w.array([...this.#brokers.entries()], ([id, { address }]) =>
      w.int32(id).string(address.host).int32(address.port).string(null),
    );
    w.string('model').int32(0);
    w.array(topics, (name) => {
      const partitions = this.#topics.get(name);
      w.int16(partitions ? 0 : UNKNOWN_TOPIC)
        .string(name)
        .boolean(false);
      return w.array([...(partitions ?? []).entries()], ([number, { leader }]) =>
        w
          .int16(leader < 0 ? LEADER_NOT_AVAILABLE : 0)
          .int32(number)
          .int32(leader)
          .int32(0)
          .int32(0)
          .int32(0),
      );
    });
    return w.finish();
  }

  #createTopics(r: ByteReader): Buffer {
    const names = r.array(() => {
      const name = r.string();
      const partitions = r.int32();
      r.int16(); // replicas
      r.array(() => 0);
      r.array(() => [r.string(), r.nullableString()]);
      if (!this.#topics.has(name)) this.createTopic(name, Math.max(1, partitions));
      return name;
    });
    const w = new ByteWriter().int32(0);
    return w.array(names, (name) => w.string(name).int16(0).string(null)).finish();
  }

  #led(name: string, number: number, node: number): Partition | number {
    const partition = this.#topics.get(name)?.[number];
    if (!partition) return UNKNOWN_TOPIC;
    return partition.leader === node ? partition : NOT_LEADER;
  }

  #listOffsets(r: ByteReader, node: number): Buffer {
    r.int32();
    r.int8();
    const topics = r.array(() => ({ name: r.string(), partitions: r.array(() => [r.int32(), r.int64()] as const) }));
    const w = new ByteWriter().int32(0);
    w.array(topics, ({ name, partitions }) =>
      w.string(name).array(partitions, ([number]) => {
        const partition = this.#led(name, number, node);
        const isLed = typeof partition === 'object';
        return w
          .int32(number)
          .int16(isLed ? 0 : partition)
          .int64(-1n)
          .int64(isLed ? partition.end : -1n);
      }),
    );
    return w.finish();
  }

  async #fetch(r: ByteReader, node: number): Promise<Buffer> {
    r.int32();
    const maxWaitMs = r.int32();
    for (let field = 0; field < 2; field++) r.int32(); // least and most bytes
    r.int8();
    for (let field = 0; field < 2; field++) r.int32(); // session
    const [asked] = r
      .array(() => {
        const name = r.string();
        return r.array(() => {
          const number = r.int32();
          r.int32();
          const offset = r.int64();
          r.int64();
          r.int32();
          return { name, number, offset };
        });
      })
      .flat();
    const { name, number, offset } = asked!;
    if (maxWaitMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(maxWaitMs, 30)));
    const partition = this.#led(name, number, node);
    const isLed = typeof partition === 'object';
    const found = isLed ? partition.batches.filter((batch) => lastOffset(batch.bytes) >= offset) : [];
    const records = Buffer.concat(found.map(({ bytes }) => bytes));
    const w = new ByteWriter().int32(0).int16(0).int32(0);
    w.array([name], () =>
      w.string(name).array([number], () => {
        w.int32(number).int16(isLed ? 0 : partition);
        w.int64(isLed ? partition.end : -1n)
          .int64(-1n)
          .int64(0n)
          .int32(0)
          .int32(records.length);
        return w;
      }),
    );
    return Buffer.concat([w.finish(), records]);
  }

  #produce(r: ByteReader, node: number, refused: number): Buffer {
    const id = r.nullableString();
    r.int16();
    r.int32();
    const topics = r.array(() => ({
      name: r.string(),
      partitions: r.array(() => ({ number: r.int32(), batch: Buffer.from(r.bytes()) })),
    }));
    const w = new ByteWriter();
    w.array(topics, ({ name, partitions }) =>
      w.string(name).array(partitions, ({ number, batch }) => {
        const partition = this.#led(name, number, node);
        const result =
          refused !== 0
            ? refused
            : typeof partition === 'number'
              ? partition
              : this.#append(partition, `${name}/${number}`, id, batch);
        const isTaken = typeof result === 'bigint';
        this.#tell(`append ${name}/${number} ${isTaken ? `at ${result}` : `refused, ${result}`}: ${sayBatch(batch)}`);
        return w
          .int32(number)
          .int16(isTaken ? 0 : result)
          .int64(isTaken ? result : -1n)
          .int64(-1n)
          .int64(0n)
          .int32(0)
          .string(null);
      }),
    );
    return w.int32(0).finish();
  }

  /** @returns its offset, or an error code */
  #append(partition: Partition, place: string, id: string | null, batch: Buffer): bigint | number {
    const producerId = batch.readBigInt64BE(43);
    const epoch = batch.readInt16BE(51);
    const sequence = batch.readInt32BE(53);
    if (producerId < 0n) return this.#store(partition, batch);
    const known = partition.producers.get(producerId);
    if (known && epoch < known.epoch) return INVALID_EPOCH;
    const isNew = !known || epoch > known.epoch;
    if (!isNew && known.lastBatch?.sequence === sequence) return known.lastBatch.offset; // it has it already
    if (sequence !== (isNew ? 0 : known.nextSequence)) return OUT_OF_ORDER;
    if (id !== null && this.#options.verifies !== false) {
      const transactions = this.#transactions.get(id);
      if (transactions?.epoch !== epoch) return INVALID_EPOCH;
      if (transactions.state !== 'Ongoing' || !transactions.partitions.has(place)) return INVALID_STATE;
    }
    const offset = this.#store(partition, batch);
    const openSince = id === null ? -1n : known && known.openSince >= 0n ? known.openSince : offset;
    const nextSequence = sequence + batch.readInt32BE(57);
    partition.producers.set(producerId, { epoch, nextSequence, lastBatch: { sequence, offset }, openSince });
    return offset;
  }

  #store(partition: Partition, batch: Buffer): bigint {
    const offset = partition.end;
    batch.writeBigInt64BE(offset, 0);
    partition.batches.push({ offset, bytes: batch });
    partition.end = lastOffset(batch) + 1n;
    return offset;
  }

  #initProducer(r: ByteReader, refused: number): Buffer {
    const id = r.string();
    const timeoutMs = r.int32();
    this.timeoutsMs.push(timeoutMs);
    this.#tell(`init ${id}: ${sayTransactions(this.#transactions.get(id))}`);
    const answer = (code: number, producerId = -1n, epoch = -1): Buffer =>
      new ByteWriter().int32(0).int16(code).int64(producerId).int16(epoch).finish();
    if (refused !== 0) return answer(refused);
    if (timeoutMs > (this.#options.longestTransactionMs ?? Number.POSITIVE_INFINITY)) return answer(TIME_OUT_REFUSED);
    const known = this.#transactions.get(id);
    if (!known) {
      const producerId = this.#producers++;
      this.#transactions.set(id, { producerId, epoch: 0, state: 'Empty', partitions: new Set() });
      return answer(0, producerId, 0);
    }
    if (known.state === 'Ongoing') {
      known.epoch++;
      this.#decide(known, 'abort');
      return answer(CONCURRENT);
    }
    if (known.state.startsWith('Prepare')) return answer(CONCURRENT);
    known.epoch++;
    known.state = 'Empty';
    return answer(0, known.producerId, known.epoch);
  }

  #addPartitions(r: ByteReader, refused: number): Buffer {
    const id = r.string();
    r.int64();
    const epoch = r.int16();
    const topics = r.array(() => ({ topic: r.string(), partitions: r.array(() => r.int32()) }));
    const known = this.#transactions.get(id);
    this.#tell(`join ${id} epoch ${epoch} ${JSON.stringify(topics)}: ${sayTransactions(known)}`);
    let code = refused;
    if (code === 0 && known?.epoch !== epoch) code = INVALID_EPOCH;
    if (code === 0 && known!.state.startsWith('Prepare')) code = CONCURRENT;
    if (code === 0) {
      const { state } = known!;
      if (state !== 'Ongoing') known!.partitions = new Set();
      known!.state = 'Ongoing';
      for (const { topic, partitions } of topics) for (const p of partitions) known!.partitions.add(`${topic}/${p}`);
    }
    const w = new ByteWriter().int32(0);
    return w
      .array(topics, ({ topic, partitions }) => w.string(topic).array(partitions, (p) => w.int32(p).int16(code)))
      .finish();
  }

  #endTransaction(r: ByteReader, refused: number): Buffer {
    const id = r.string();
    r.int64();
    const epoch = r.int16();
    const commit = r.boolean();
    const known = this.#transactions.get(id);
    this.#tell(`end ${id} epoch ${epoch} ${commit ? 'commit' : 'abort'}: ${sayTransactions(known)}`);
    const answer = (code: number): Buffer => new ByteWriter().int32(0).int16(code).finish();
    if (refused !== 0) return answer(refused);
    if (known?.epoch !== epoch) return answer(INVALID_EPOCH);
    const decided: State = commit ? 'CompleteCommit' : 'CompleteAbort';
    if (known.state === decided) return answer(0);
    if (known.state !== 'Ongoing') return answer(INVALID_STATE);
    this.ends.push({ id, commit, partitions: [...known.partitions] });
    this.#decide(known, commit ? 'commit' : 'abort');
    return answer(0);
  }

  #decide(transactions: Transactions, outcome: 'commit' | 'abort'): void {
    transactions.state = outcome === 'commit' ? 'PrepareCommit' : 'PrepareAbort';
    const { epoch, partitions } = transactions;
    const write = (): void => {
      for (const place of partitions) this.#mark(place, transactions.producerId, epoch, outcome);
      transactions.state = outcome === 'commit' ? 'CompleteCommit' : 'CompleteAbort';
    };
    const afterMs = this.#options.markersAfterMs?.() ?? 0;
    if (afterMs === 0) write();
    else setTimeout(write, afterMs);
  }

  #mark(place: string, producerId: bigint, epoch: number, outcome: 'commit' | 'abort'): void {
    const at = place.lastIndexOf('/');
    const partition = this.#topics.get(place.slice(0, at))?.[Number(place.slice(at + 1))];
    // One without a leader counts as deleted: that is how markers get lost.
    const isLost = !partition || partition.leader < 0 || this.#options.keepsMarker?.(place, outcome) === false;
    this.#tell(`marker ${outcome} of ${producerId} epoch ${epoch} in ${place}: ${isLost ? 'lost' : partition.end}`);
    if (isLost) return;
    this.#store(partition, markerBatch(producerId, epoch, outcome));
    const before = partition.producers.get(producerId);
    const isNew = !before || epoch > before.epoch;
    partition.producers.set(producerId, {
      epoch,
      nextSequence: isNew ? 0 : before.nextSequence,
      lastBatch: isNew ? null : before.lastBatch,
      openSince: -1n,
    });
  }

  #describeTransaction(r: ByteReader): Buffer {
    r.tags();
    const [id] = r.compactArray(() => r.nullableCompactString()!);
    const known = this.#transactions.get(id!);
    const w = new ByteWriter().noTags().int32(0);
    w.compactArray([id!], () => {
      w.int16(known ? 0 : ID_NOT_FOUND)
        .compactString(id!)
        .compactString(known?.state ?? '')
        .int32(0);
      return w
        .int64(0n)
        .int64(known?.producerId ?? -1n)
        .int16(known?.epoch ?? -1)
        .compactArray(joinedBy(known), (place) => {
          const at = place.lastIndexOf('/');
          return w
            .compactString(place.slice(0, at))
            .compactArray([Number(place.slice(at + 1))], (number) => w.int32(number))
            .noTags();
        })
        .noTags();
    });
    return w.noTags().finish();
  }

  #describeProducers(r: ByteReader, node: number): Buffer {
    r.tags();
    const topics = r.compactArray(() => {
      const topic = r.nullableCompactString()!;
      const partitions = r.compactArray(() => r.int32());
      r.tags();
      return { topic, partitions };
    });
    const w = new ByteWriter().noTags().int32(0);
    w.compactArray(topics, ({ topic, partitions }) =>
      w
        .compactString(topic)
        .compactArray(partitions, (number) => {
          const partition = this.#led(topic, number, node);
          const isLed = typeof partition === 'object';
          w.int32(number)
            .int16(isLed ? 0 : partition)
            .unsignedVarint(0);
          return w
            .compactArray(isLed ? [...partition.producers] : [], ([producerId, { epoch, openSince }]) =>
              w.int64(producerId).int32(epoch).int32(0).int64(0n).int32(0).int64(openSince).noTags(),
            )
            .noTags();
        })
        .noTags(),
    );
    return w.noTags().finish();
  }
}

/** Once all markers are written a coordinator forgets where they were. */
function joinedBy(transactions: Transactions | undefined): string[] {
  return transactions && !/^(Empty|Complete)/.test(transactions.state) ? [...transactions.partitions] : [];
}

function sayTransactions(transactions: Transactions | undefined): string {
  if (!transactions) return 'unknown';
  const { producerId, epoch, state, partitions } = transactions;
  return `${producerId} epoch ${epoch} ${state} [${[...partitions].join(' ')}]`;
}

function sayBatch(batch: Buffer): string {
  const records = [...readStoredBatches(batch)].flatMap((stored) => stored.records);
  const names = records.map(({ key, position }) => position ?? key?.toString() ?? '');
  return `${batch.readBigInt64BE(43)} epoch ${batch.readInt16BE(51)} sequence ${batch.readInt32BE(53)} ${names.join(' ')}`;
}

function lastOffset(batch: Buffer): bigint {
  return batch.readBigInt64BE(0) + BigInt(batch.readInt32BE(23));
}

/** A control batch. Source: org.apache.kafka.common.record.EndTransactionMarker. */
function markerBatch(producerId: bigint, epoch: number, outcome: 'commit' | 'abort'): Buffer {
  // length 14, attributes, timestamp delta, offset delta, key of 4 bytes, value of 6 bytes, no headers
  const record = Buffer.from([0, 0, 0, 0, 8, 0, 0, 0, outcome === 'commit' ? 1 : 0, 12, 0, 0, 0, 0, 0, 0, 0]);
  record[0] = (record.length - 1) * 2;
  const batch = Buffer.alloc(BATCH_HEADER + record.length);
  batch.writeInt32BE(batch.length - 12, 8);
  batch[16] = 2;
  batch.writeInt16BE(0x30, 21); // transactional, control
  batch.writeBigInt64BE(producerId, 43);
  batch.writeInt16BE(epoch, 51);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(1, 57);
  record.copy(batch, BATCH_HEADER);
  batch.writeUInt32BE(crc32c(batch, 21, batch.length), 17);
  return batch;
}
