import { randomBytes } from 'node:crypto';
import type { TabletPosition } from '../../change/position.ts';
import type { RecordBatch } from '../../change/record-batch.ts';
import { RecordKind } from '../../change/record-batch.ts';
import { SinkError } from '../sink.ts';
import { EntryChunk, type Layout } from './entry-chunk.ts';
import { positionsKey } from './keys.ts';
import { LaneFilter, LaneProgress } from './lane-filter.ts';
import { decodeLaneState, encodeLaneState, type LaneState, type Partial } from './lane-state.ts';
import type { RedisNode } from './redis-node.ts';
import { APPEND, OPEN } from './scripts.ts';

export interface LaneOptions {
  readonly key: string;
  readonly layout: Layout;
  /** Whose: the field of the hash. */
  readonly field: string;
  readonly generation: string;
  /** Of this opening of the tablet. */
  readonly epoch: string;
  readonly node: RedisNode;
}

/** Chunks that are on their way, of all lanes of a write. */
export interface ChunkSender {
  /** Resolves when there is room for more; `send` has begun then. Rejects where an earlier one has failed. */
  start(send: () => Promise<void>): Promise<void>;
}

/**
 * One stream key that a tablet's records go to, taken over by this writer. Each chunk says how many there were before it, so that
 * one that is lost, late or repeated leaves neither a hole nor a second copy, and whoever has a newer epoch keeps this one out.
 */
export class TabletLane {
  readonly key: string;
  readonly #options: LaneOptions;
  readonly #hash: string;
  #id: string;
  #count: number;
  #state: LaneState;
  #filter: LaneFilter | null;
  /** Of the write that is under way. */
  #mode: 'none' | 'all' | 'some' = 'none';
  #chunk: EntryChunk | null = null;
  #progress = new LaneProgress();
  #from: TabletPosition | null = null;
  /** Whether a chunk may end behind what was added last. */
  #canEnd = false;

  private constructor(
    options: LaneOptions,
    { id, count, state }: { id: string; count: number; state: LaneState | null },
  ) {
    const { key, generation } = options;
    this.key = key;
    this.#options = options;
    this.#hash = positionsKey(key);
    this.#id = id;
    this.#count = count;
    this.#state = state ?? { generation, position: null, partial: null };
    this.#filter = state && new LaneFilter(state);
  }

  /** When it resolves no earlier writer of the tablet can add to the key. @throws {SinkError} */
  static async open(options: LaneOptions): Promise<TabletLane> {
    const { key, field, epoch, generation, node } = options;
    const hash = positionsKey(key);
    const answer = (await node.run(OPEN, [key, hash], [field, epoch, newId()])) as [string, string, string];
    const [id, count, text] = answer;
    try {
      return new TabletLane(options, { id, count: Number(count), state: decodeLaneState(text, generation) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new SinkError(
        'refused',
        `the field ${field} of ${hash} in Redis is no position: ${reason}; delete it (HDEL), and the tablet goes on from its apply marker`,
        error,
      );
    }
  }

  /** Of the hash, or what is there since. */
  get id(): string {
    return this.#id;
  }

  get node(): RedisNode {
    return this.#options.node;
  }

  get state(): LaneState {
    return this.#state;
  }

  /** A write begins. @param from where the tablet stands */
  begin(from: TabletPosition | null, to: TabletPosition): void {
    this.#from = from;
    this.#progress = new LaneProgress();
    this.#canEnd = false;
    this.#mode = this.#filter?.begin(from, to) ?? 'none';
    if (this.#mode === 'none') this.#filter = null;
  }

  /** Whether what was taken so far is to be sent before this record. */
  wantsSend(batch: RecordBatch, i: number): boolean {
    if (this.#chunk === null || !this.#chunk.isFullFor(batch, i)) return false;
    if (!this.#canEnd || batch.kindOf(i) === RecordKind.TOMBSTONE) return false;
    // Of a copy how many rows were there could not be told later: it goes in one piece.
    return !this.#progress.hasCopied || (this.#from !== null && this.#filter?.straddles !== true);
  }

  /** Sends what was taken so far, so that whoever goes on knows what of the write is there. */
  async sendPart(sender: ChunkSender): Promise<void> {
    const position = this.#filter?.straddles ? this.#state.position : this.#from;
    await this.#send(sender, { position, partial: this.#progress.partial });
  }

  /** Takes a record. */
  add(batch: RecordBatch, i: number): void {
    if (this.#mode === 'all') return;
    if (this.#mode === 'none' || !this.#filter!.isThere(batch, i)) {
      this.#chunk ??= new EntryChunk(this.#options.layout);
      this.#chunk.add(batch, i);
    }
    this.#progress.add(batch, i);
    this.#canEnd = isEnd(batch.kindOf(i), this.#canEnd);
  }

  /** Its memory goes to others. */
  endBatch(): void {
    this.#progress.endBatch();
  }

  /** Sends what is left, with the position. A lane that is further already is left as it is. */
  async finish(to: TabletPosition, sender: ChunkSender): Promise<void> {
    if (this.#mode === 'all') return;
    const rest = this.#filter?.rest ?? null;
    await this.#send(sender, { position: to, partial: rest });
    this.#filter = rest && new LaneFilter(this.#state);
  }

  /**
   * Sends what is left without a position: the key is other tablets' as well, and its records are few. What is told is that they are
   * behind where the write began.
   */
  async finishPart(sender: ChunkSender): Promise<void> {
    if (this.#chunk === null) return;
    await this.#send(sender, { position: this.#from, partial: this.#progress.partial });
  }

  /** A write was given up. */
  drop(): void {
    this.#chunk?.release();
    this.#chunk = null;
  }

  async #send(
    sender: ChunkSender,
    { position, partial }: { position: TabletPosition | null; partial: Partial | null },
  ): Promise<void> {
    const chunk = this.#chunk;
    this.#chunk = null;
    this.#state = { generation: this.#options.generation, position, partial };
    const state = encodeLaneState(this.#state);
    const count = this.#count++;
    await sender.start(() => this.#append(chunk, count, state));
  }

  async #append(chunk: EntryChunk | null, count: number, state: string): Promise<void> {
    const { key, field, epoch, layout, node } = this.#options;
    const args: (string | Buffer)[] = [field, epoch, String(count), String(count + 1), state];
    const id = newId();
    args.push(id);
    if (chunk) args.push(chunk.finish());
    try {
      const answer = await node.run(APPEND[layout], [key, this.#hash], args);
      if (answer === 'ANEW') this.#id = id;
      else if (answer !== 'OK' && answer !== 'DONE') throw refusalOf(String(answer), key);
    } finally {
      chunk?.release();
    }
  }
}

/** A delete and its tombstone are together; marks and schemas have no place that could be told. */
function isEnd(kind: RecordKind, before: boolean): boolean {
  if (kind === RecordKind.ROW || kind === RecordKind.DEAD_LETTER) return true;
  return kind === RecordKind.TOMBSTONE && before;
}

function newId(): string {
  return randomBytes(12).toString('base64url');
}

function refusalOf(answer: string, key: string): SinkError {
  if (answer === 'FENCED') return new SinkError('fenced', `the tablet has a newer writer in Redis, key ${key}`);
  if (answer === 'GONE')
    return new SinkError(
      'unavailable',
      `the positions of key ${key} are gone from Redis: somebody has deleted ${positionsKey(key)}`,
    );
  return new SinkError('unavailable', `what key ${key} has in Redis is not what was written last (${answer})`);
}
