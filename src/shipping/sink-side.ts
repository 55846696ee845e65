import type { TabletLabels, ReplicationMetrics } from '../api/counters.ts';
import { isResync, type TabletPosition } from '../change/position.ts';
import type { RecordFormat } from '../formats/format.ts';
import { formatOpId } from '../kudu/opid.ts';
import { parseSinkId } from '../sinks/sink-id.ts';
import { RecordTooLargeError, SinkError, type Sink, type TabletWriter } from '../sinks/sink.ts';
import type { ChangeRead } from '../source/change-source.ts';
import type { ByteArena } from '../util/byte-arena.ts';
import type { Logger } from '../util/logger.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { Wait } from '../util/waits.ts';
import { EncodedBatches } from './encoded-batches.ts';
import type { ReplicatorEvent } from './replicator-core.ts';
import { sinkFault } from './replicator-fault.ts';
import type { Fault } from './replicator-state.ts';
import { secondsSince } from './replicator-view.ts';
import { initialSaved, stepSaved, type SavedEvent, type SavedPositions, type WriterWord } from './saved-positions.ts';

export interface SinkSideOptions {
  readonly stream: { readonly name: string; readonly generation: string };
  readonly tabletId: string;
  readonly start: TabletPosition;
  readonly startSink: string;
  readonly sink: Sink;
  readonly format: RecordFormat;
  readonly arena: ByteArena;
  /** Whether the schema's changes are this tablet's to ship. */
  readonly shipsSchema: boolean;
  /** What becomes of a call, as the core is to be told. */
  readonly post: (event: ReplicatorEvent) => void;
  readonly onAcked: (position: TabletPosition, worthIndex: bigint, sinkId: string) => void;
  /** The writer of that opening finds between two writes that it is fenced. */
  readonly onFenced: (call: number, error: SinkError) => void;
  /** What it is to the log that no record can be made of what it has. */
  readonly notEncodable: (error: Error) => Fault;
  /** Whether what waits for the sink holds a place that others wait for. */
  readonly takesTurn: () => boolean;
  /** Whether it takes room in memory that others may wait for. */
  readonly holdsRoom: () => boolean;
  readonly metrics: ReplicationMetrics;
  readonly kuduNow: () => number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * The sink's half of a replicator: owns the tablet's writer, and knows what a marker may say.
 */
export class SinkSide {
  /** Whether a schema record of the tablet is in the sink. */
  hasSpoken = false;
  readonly #options: SinkSideOptions;
  #saved: SavedPositions;
  #writer: TabletWriter | null = null;
  /** What an opening, or a write that has not begun, waits for. */
  #wait: Wait | null = null;
  #labels: TabletLabels;

  constructor(options: SinkSideOptions) {
    this.#options = options;
    this.#saved = initialSaved(options.start, options.startSink);
    this.#labels = { stream: options.stream.name, table: options.start.tableName, tablet: options.tabletId };
  }

  get labels(): TabletLabels {
    return this.#labels;
  }

  get waits(): Wait | null {
    return this.#wait ?? this.#writer?.waits ?? null;
  }

  async open(call: number): Promise<void> {
    const { stream, tabletId, sink, post, onFenced, signal } = this.#options;
    try {
      await this.close();
      this.#writer = await sink.openTablet(
        {
          streamName: stream.name,
          streamGeneration: stream.generation,
          tabletId,
          tableName: this.#saved.durable.tableName,
          onWait: (what) => {
            this.#wait = { for: what, sinceMs: steadyNow() };
          },
          onSaved: (position) => {
            this.#saw({ kind: 'saved', position });
          },
          onFenced: (error) => {
            onFenced(call, error);
          },
        },
        signal,
      );
    } catch (error) {
      this.#failed(call, error);
      return;
    } finally {
      this.#wait = null;
    }
    const { position } = this.#writer;
    this.#saw({ kind: 'opened', position, ...wordOf(this.#writer) });
    post({ kind: 'sink-opened', call, position });
  }

  /** @param acked where the tablet stands: a write of nothing says it again */
  async write(call: number, reads: readonly ChangeRead[], acked: TabletPosition): Promise<void> {
    const { format, arena, shipsSchema, post, notEncodable, signal } = this.#options;
    const position = reads.at(-1)?.position ?? acked;
    const writer = this.#writer;
    if (!writer) throw new TypeError('a write without a writer');
    const records = new EncodedBatches(reads, format, arena, shipsSchema);
    try {
      if (format.prepare) await format.prepare([...records.changes()], signal);
      await writer.write(records, position, signal);
    } catch (error) {
      if (records.failure) post({ kind: 'log-lost', fault: notEncodable(records.failure) });
      this.#failed(call, this.#afterTooLarge(error));
      return;
    }
    records.release();
    this.hasSpoken ||= shipsSchema && reads.some(({ changes }) => changes.some(({ kind }) => kind === 'schema'));
    const news = reads.findLast(({ onlyMarkers }) => !onlyMarkers);
    this.#saw({ kind: 'written', position, worthIndex: news?.position.opId.index ?? null, ...wordOf(writer) });
    this.#count(reads, records, position.tableName);
    post({ kind: 'written', call });
  }

  async close(): Promise<void> {
    await this.#writer?.[Symbol.asyncDispose]();
    this.#writer = null;
  }

  tellFenced({ message: reason }: SinkError): void {
    this.#options.logger.warn({ reason }, 'another sidecar ships this tablet now');
  }

  failure(call: number, fault: Fault): ReplicatorEvent {
    const { takesTurn, holdsRoom } = this.#options;
    return { kind: 'sink-failed', call, fault, takesTurn: takesTurn(), holdsRoom: holdsRoom() };
  }

  /** A record that the stream wants otherwise then: the next try is another one. */
  #afterTooLarge(error: unknown): unknown {
    if (!(error instanceof RecordTooLargeError)) return error;
    const { format, logger } = this.#options;
    const { message: reason, record } = error;
    if (!format.tooLarge?.(record, reason)) return error;
    logger.warn({ reason, position: record.position }, 'a record is too large and is replaced in the next try');
    return new SinkError('unavailable', `${reason}; it is replaced in the next try`, error);
  }

  #failed(call: number, error: unknown): void {
    const { post, metrics, signal } = this.#options;
    if (error instanceof SinkError && error.kind === 'fenced') {
      this.tellFenced(error);
      post({ kind: 'sink-fenced', call });
      return;
    }
    if (!signal.aborted) metrics.sinkError(this.#labels);
    post(this.failure(call, sinkFault(error)));
  }

  #saw(event: SavedEvent): void {
    const { logger, onAcked } = this.#options;
    const { state, effects } = stepSaved(this.#saved, event);
    this.#saved = state;
    for (const effect of effects) {
      if (effect.kind === 'report') {
        onAcked(effect.position, effect.worthIndex, effect.sinkId);
        continue;
      }
      const { marked, sinkId, behind } = effect;
      const fields = { marked, sink: sinkId, opId: formatOpId(behind.opId) };
      if (effect.kind === 'other-store')
        logger.warn(fields, 'the stream was shipped to another sink so far, and goes on here behind that');
      else
        logger.warn(
          { ...fields, topic: parseSinkId(sinkId).topic?.name },
          'the topic was made anew: what the old one had is not in it, and the stream goes on behind that; a resync puts the rows there',
        );
    }
  }

  #count(reads: readonly ChangeRead[], { records, bytes }: EncodedBatches, table: string): void {
    const { metrics, kuduNow } = this.#options;
    for (const { completes, position } of reads)
      if (completes && isResync(completes, position.resync)) metrics.resynced(this.#labels);
    this.#labels = { ...this.#labels, table };
    if (records === 0) return;
    const nowMs = kuduNow();
    const latencies = reads
      .filter(({ changes }) => changes.some((change) => change.kind !== 'rows' || change.copy === null))
      .map((read) => secondsSince(read.firstHybridTime ?? read.hybridTime, nowMs));
    metrics.shipped(this.#labels, records, bytes, latencies);
  }
}

function wordOf({ saved, sinkId = '' }: TabletWriter): WriterWord {
  return { saved, sinkId };
}
