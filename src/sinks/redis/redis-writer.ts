import { isAhead, type TabletPosition } from '../../change/position.ts';
import { RecordKind, type RecordBatch } from '../../change/record-batch.ts';
import { MIN_OPID } from '../../kudu/opid.ts';
import type { Slots } from '../../util/slots.ts';
import { steadyNow } from '../../util/steady-clock.ts';
import { waitFor } from '../../util/wait-for.ts';
import { SinkError, type SinkTablet, type TabletWriter } from '../sink.ts';
import { ChunksInFlight } from './chunks-in-flight.ts';
import { toSinkError } from './redis-error.ts';
import type { RedisConnection } from './redis-connection.ts';
import { SavedTrail, type Needed } from './saved-trail.ts';
import { positionsKey } from './keys.ts';
import type { RedisNode } from './redis-node.ts';
import type { TabletLane } from './tablet-lane.ts';
import type { TableLanes, TabletLanes } from './tablet-lanes.ts';

export interface RedisWriterOptions {
  readonly connection: RedisConnection;
  readonly lanes: TabletLanes;
  /** How many tablets write at a time: each has some chunks on the way. */
  readonly writeSlots: Slots;
  /** Keys that were written to. */
  readonly onAppended: (keys: Iterable<string>) => void;
  readonly sinkId: (lanes: TableLanes) => string;
  readonly tablet: SinkTablet;
  readonly onDisposed: (writer: RedisWriter) => void;
}

/**
 * In the place of none where Redis has lost all that it had acknowledged of a tablet: who is told none goes on behind what was
 * acknowledged, and who is told less begins anew where it is known to be saved.
 */
const NOWHERE = { opId: MIN_OPID, schemaVersion: 0 };

/** Of half a megabyte each. */
const MAX_CHUNKS_IN_FLIGHT = 4;

/** Writes one tablet's records into the stream keys that it has taken over, each with its position in one atomic step. */
export class RedisWriter implements TabletWriter {
  readonly position: TabletPosition | null;
  readonly #options: RedisWriterOptions;
  readonly #trail = new SavedTrail();
  #at: TabletPosition | null;
  #lanes: TableLanes;
  #failure: SinkError | null = null;
  #waits: { readonly for: string; readonly sinceMs: number } | null = null;

  /**
   * @param at where the tablet's lanes are
   * @param lanes of the table that it is of there
   * @param hasLost whether Redis had acknowledged more to this process: see {@link NOWHERE}
   */
  constructor(options: RedisWriterOptions, at: TabletPosition | null, lanes: TableLanes, hasLost: boolean) {
    this.#options = options;
    this.#at = at;
    this.#lanes = lanes;
    const position = at && options.lanes.withRows(at, lanes);
    if (position) this.#trail.written(position, noted(lanes.shards));
    this.#trail.look();
    this.position = position ?? (hasLost ? { ...NOWHERE, tableName: options.tablet.tableName } : null);
  }

  /** What was written last, where Redis may lose it yet. */
  get unsaved(): TabletPosition | null {
    const { saved } = this.#trail;
    return this.#at && isAhead(this.#at, saved) ? this.#at : null;
  }

  get saved(): TabletPosition | null {
    return this.#trail.saved;
  }

  get waits(): { readonly for: string; readonly sinceMs: number } | null {
    return this.#waits;
  }

  get sinkId(): string {
    return this.#options.sinkId(this.#lanes);
  }

  async write(batches: Iterable<RecordBatch>, position: TabletPosition, signal: AbortSignal): Promise<void> {
    if (this.#failure) throw this.#failure;
    const { writeSlots } = this.#options;
    try {
      this.#waits = { for: 'a place among the tablets that write at a time', sinceMs: steadyNow() };
      const giveBack = await writeSlots.acquire(signal).finally(() => (this.#waits = null));
      try {
        await waitFor(this.#write(batches, position, signal), signal);
      } finally {
        giveBack();
      }
    } catch (error) {
      throw (this.#failure = signal.aborted
        ? new SinkError('unavailable', 'stopped', error)
        : toSinkError(error, 'its address'));
    }
    this.lookForSaved();
  }

  /** To be called when a server has confirmed more. */
  lookForSaved(): void {
    if (this.#trail.look() && this.#trail.saved) this.#options.tablet.onSaved?.(this.#trail.saved);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#options.onDisposed(this);
    return Promise.resolve();
  }

  async #write(batches: Iterable<RecordBatch>, to: TabletPosition, signal: AbortSignal): Promise<void> {
    this.#throwIfLost();
    const { lanes, onAppended } = this.#options;
    const sender = new ChunksInFlight(MAX_CHUNKS_IN_FLIGHT, signal);
    const begun = new Set<TabletLane>();
    const begin = (lane: TabletLane): TabletLane => {
      if (begun.has(lane)) return lane;
      begun.add(lane);
      lane.begin(this.#at, to);
      return lane;
    };
    let table: { readonly name: string; readonly lanes: TableLanes } | null = null;
    const touched = new Set<TableLanes>();
    const lanesOf = async (name: string): Promise<TableLanes> => {
      const found = await lanes.of(name, signal);
      touched.add(found);
      for (const shard of found.shards) begin(shard);
      table = { name, lanes: found };
      return found;
    };
    // Where a table gets another name, its old lanes say so.
    touched.add(this.#lanes);
    for (const shard of this.#lanes.shards) begin(shard);
    const home = await lanesOf(to.tableName);
    for (const shard of home.shards) shard.node.throwIfTroubled();
    try {
      for (const batch of batches) {
        for (let i = 0; i < batch.length; i++) {
          const kind = batch.kindOf(i);
          if (kind === RecordKind.SCHEMA || kind === RecordKind.FIRST_SCHEMA) {
            await take(begin(lanes.schema), batch, i, sender);
            continue;
          }
          const name = batch.runOf(i).table;
          const current: TableLanes = table!.name === name ? table!.lanes : await lanesOf(name);
          if (kind === RecordKind.DEAD_LETTER) await take(begin(current.deadLetters), batch, i, sender);
          else if (kind === RecordKind.RESOLVED)
            for (const shard of current.shards) await take(shard, batch, i, sender);
          else {
            const lane = current.shards.length === 1 ? current.shards[0]! : lanes.shardOf(current, batch, i);
            if (lane.wantsSend(batch, i)) await lane.sendPart(sender);
            lane.add(batch, i);
          }
        }
        for (const lane of begun) lane.endBatch();
        batch.release();
        this.#throwIfLost();
        signal.throwIfAborted();
      }
      const shards = [...touched].flatMap((each) => each.shards);
      const shared = [...begun].filter((lane) => !shards.includes(lane));
      for (const lane of shared) await lane.finishPart(sender);
      // The position says that these are there too.
      if (shared.length > 0) await sender.drain();
      for (const lane of shards) await lane.finish(to, sender);
      await sender.drain();
    } catch (error) {
      for (const lane of begun) lane.drop();
      throw error;
    }
    this.#at = to;
    this.#lanes = home;
    this.#trail.written(to, noted(begun));
    onAppended(Array.from(begun, ({ key }) => key));
  }

  #throwIfLost(): void {
    const { lost } = this.#options.connection;
    if (lost) throw lost;
  }
}

async function take(lane: TabletLane, batch: RecordBatch, i: number, sender: ChunksInFlight): Promise<void> {
  if (lane.wantsSend(batch, i)) await lane.sendPart(sender);
  lane.add(batch, i);
}

/** What was written to these is in their servers now. */
function noted(lanes: Iterable<TabletLane>): Needed[] {
  const hashes = new Map<RedisNode, string>();
  for (const { node, key } of lanes) hashes.set(node, positionsKey(key));
  return Array.from(hashes, ([node, hash]) => ({ of: node, count: node.note(hash) }));
}
