import { isAhead, type TabletPosition } from '../change/position.ts';
import { formatOpId } from '../kudu/opid.ts';
import { compareSinkIds, latestSinkId, parseSinkId } from '../sinks/sink-id.ts';
import type { TabletWriter } from '../sinks/sink.ts';
import type { Logger } from '../util/logger.ts';

/**
 * Told that the sink has everything up to `position`, and would tell a successor so; the highest operation among it that
 * is no apply marker is `worthIndex`, and `sink` says which sink that is.
 */
export type OnAcked = (position: TabletPosition, worthIndex: bigint, sink: string) => void;

/** What one tablet's sink has for sure, which sink that is, and how much of it a successor would be told. */
export class SinkProgress {
  readonly #onAcked: OnAcked;
  readonly #logger: Logger;
  /** What was written and is not yet reported as saved, each with the highest index in it that is no marker's. */
  #written: { readonly position: TabletPosition; readonly worth: bigint }[] = [];
  #reported: TabletPosition | null = null;
  /** What is known of the sink that has all up to here, see sink-id.ts. */
  #sinkId: string;
  /** What the sink has for sure. */
  #durable: TabletPosition;

  constructor(start: TabletPosition, startSink: string, onAcked: OnAcked, logger: Logger) {
    this.#durable = start;
    this.#sinkId = startSink;
    this.#onAcked = onAcked;
    this.#logger = logger;
  }

  /** Name of the table where the sink stands. */
  get tableName(): string {
    return this.#durable.tableName;
  }

  /** A writer was opened: what it found is reported, since whoever shipped before may have died before a marker told. */
  opened(writer: TabletWriter): void {
    if (writer.position && isAhead(writer.position, this.#durable)) this.#durable = writer.position;
    this.#note(writer);
    const found = writer.saved === undefined ? writer.position : writer.saved;
    if (found) this.#report(found, found.opId.index);
  }

  /** @param worth the highest index in the write that is no marker's; null where there is none */
  written(writer: TabletWriter, position: TabletPosition, worth: bigint | null): void {
    this.#note(writer);
    this.#durable = position;
    this.#written.push({ position, worth: worth ?? this.#written.at(-1)?.worth ?? 0n });
    this.report(writer);
  }

  /** Tells how far a successor would go on by the sink's own word; to be called now and then, and when it is closed. */
  report({ saved = this.#durable }: TabletWriter): void {
    const known = saved && this.#written.findLast(({ position }) => !isAhead(position, saved));
    if (!known) return;
    this.#written = this.#written.filter(({ position }) => isAhead(position, saved));
    this.#report(saved, known.worth);
  }

  #report(saved: TabletPosition, worth: bigint): void {
    if (!isAhead(saved, this.#reported)) return;
    this.#reported = saved;
    this.#onAcked(saved, worth, this.#sinkId);
  }

  /**
   * What another sink has, or the topic that was here before, is not sent again: whoever wants it here makes a new stream,
   * or a resync. To be called before what was just written counts as durable.
   */
  #note({ sinkId = '' }: TabletWriter): void {
    const marked = this.#sinkId;
    this.#sinkId = latestSinkId(marked, sinkId);
    const relation = compareSinkIds(marked, sinkId);
    const fields = { marked, sink: sinkId, opId: formatOpId(this.#durable.opId) };
    if (relation === 'other-store')
      this.#logger.warn(fields, 'the stream was shipped to another sink so far, and goes on here behind that');
    if (relation === 'topic-made-anew')
      this.#logger.warn(
        { ...fields, topic: parseSinkId(sinkId).topic?.name },
        'the topic was made anew: what the old one had is not in it, and the stream goes on behind that; a resync puts the rows there',
      );
  }
}
