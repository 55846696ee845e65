import type { RecordPosition, RecordsRequest } from '../api/control-plane.ts';
import type { NewestRecords, TabletView, TraceView } from '../api/shapes.ts';
import { SpoorError } from '../errors.ts';
import type { OpId } from '../kudu/opid.ts';
import type { SinkReader } from '../sinks/reader.ts';
import { SinkError } from '../sinks/sink.ts';
import type { StreamDefinition } from '../streams/definition.ts';
import { generationIn } from '../streams/membership.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { UnknownMemberError } from '../streams/stream-errors.ts';
import { asError } from '../util/as-error.ts';
import { findRecord, newestRecords, type PlacedRecord } from './newest-records.ts';
import { traceSteps, type LocalLook } from './record-trace.ts';
import { tablesNamed, tablesOf, type StreamTablesOptions } from './stream-tables.ts';

export interface StreamRecordsOptions extends StreamTablesOptions {
  /** Reads back what the sink of a stream has. @throws {SinkError} this process is not told how to reach it */
  readonly readerOf: (definition: StreamDefinition) => SinkReader;
  /** What the replica beside us knows of an operation; null where there is none. */
  readonly lookLocally: (
    tabletId: string,
    generation: string,
    opId: OpId,
    signal: AbortSignal,
  ) => Promise<LocalLook | null>;
}

/** What a person sees of the records of a stream. Nothing of it is kept, and no reader stays open. */
export class StreamRecords {
  readonly #options: StreamRecordsOptions;

  constructor(options: StreamRecordsOptions) {
    this.#options = options;
  }

  /** @throws {UnknownMemberError} it has no such table; {SpoorError} the sink does not answer, or refuses */
  async newest(stored: StoredStream, { last, table }: RecordsRequest, signal: AbortSignal): Promise<NewestRecords> {
    const tables = await tablesNamed(stored, table, this.#options, signal);
    const names = tables.map(({ table: { name } }) => name);
    try {
      await using reader = this.#options.readerOf(stored.definition);
      return { records: await newestRecords(reader, names, last, signal) };
    } catch (error) {
      if (!(error instanceof SinkError)) throw error;
      const code = error.kind === 'refused' ? 'SPOOR_SINK_REFUSED' : 'SPOOR_SINK_UNAVAILABLE';
      throw new SpoorError(code, error.message, {}, error);
    }
  }

  /** @param views of the stream's tablets @throws {UnknownMemberError} the position is of none of them */
  async trace(
    stored: StoredStream,
    position: RecordPosition,
    views: readonly TabletView[],
    signal: AbortSignal,
  ): Promise<TraceView> {
    const { tabletId, opId } = position;
    const view = views.find((each) => each.tabletId === tabletId);
    if (view === undefined)
      throw new UnknownMemberError('position', `stream ${stored.definition.name} has no tablet ${tabletId}`);
    const tables = await tablesOf(stored, this.#options, signal);
    const tableId = tables.find(({ table }) => table.name === view.table)?.table.tableId ?? '';
    const [local, record] = await Promise.all([
      this.#options.lookLocally(tabletId, generationIn(stored, tableId), opId, signal),
      this.#find(stored, view.table, position, signal),
    ]);
    return { steps: traceSteps({ position, view, local, record }) };
  }

  /** What cannot be read is told as that: the other steps are known all the same. */
  async #find(
    { definition }: StoredStream,
    table: string,
    { text }: RecordPosition,
    signal: AbortSignal,
  ): Promise<PlacedRecord | null | Error> {
    try {
      await using reader = this.#options.readerOf(definition);
      return await findRecord(reader, table, text, signal);
    } catch (error) {
      return asError(error);
    }
  }
}
